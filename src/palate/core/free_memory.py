"""Gives freed memory back to the system."""

from __future__ import annotations

import contextlib
import ctypes
import gc


def give_back_freed_memory() -> None:
    """Frees what nothing refers to any more, and lets the C library return it to the system.

    glibc keeps freed blocks of up to 32 MiB for itself, which for the encoders of SDXL was between 0.7 and 3 GiB. Does
    only the first part where the C library has no `malloc_trim`.
    """
    gc.collect()
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)
