"""Diffusers and transformers without their notes."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from palate.core.bitsandbytes_check import quiet_bitsandbytes


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Turns off progress bars and warnings of diffusers, transformers and bitsandbytes: Palate reports errors itself.

    Among the warnings are those of diffusers about its own code (`FluxPosEmbed` of Chroma), which no user can heed.
    """
    quiet_bitsandbytes()
    import diffusers.utils.logging as diffusers_logging
    import transformers.utils.logging as transformers_logging

    libraries = (diffusers_logging, transformers_logging)
    before = [(library.is_progress_bar_enabled(), library.get_verbosity()) for library in libraries]
    for library in libraries:
        library.disable_progress_bar()
        library.set_verbosity_error()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        for library, (bars, verbosity) in zip(libraries, before):
            library.set_verbosity(verbosity)
            if bars:
                library.enable_progress_bar()
