"""One server at a time for a study: a second one would invalidate the owner's link and draw every prompt twice."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from palate.collect.study import OpenStudy
from palate.core.errors import PalateError
from palate.core.files import explain_os_errors

FILE = "serve.lock"
"""A file in the study's folder: locked while a server runs, with the address and process of the last server."""


@contextmanager
def claimed(study: OpenStudy) -> Iterator[Callable[[str], None]]:
    """Locks a study against other servers during the block; the lock ends with the process.

    Yields:
        A function that records the address at which the study is served.

    Raises:
        PalateError: the study is served already.
    """
    path = study.folder / FILE
    with explain_os_errors(f"write {path}"):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    with os.fdopen(descriptor, "r+", encoding="utf-8") as file:
        if not _lock(file):
            url, process = _written(path)
            by = f" at {url} (process {process})" if url else ""
            raise PalateError(f"the study in {study.folder} is served already{by}; use that, or stop it first")
        with study.database.claimed() as alone:
            if not alone:
                fix = "stop that one first, or serve the folder that it serves"
                raise PalateError(f"another server uses the database of {study.folder}, from another folder; {fix}")

            def note(url: str) -> None:
                file.seek(0)
                file.truncate()
                file.write(json.dumps({"url": url, "process": os.getpid()}))
                file.flush()

            yield note


def last_address(folder: Path) -> str | None:
    """The address at which a study is served or was last served; None where it never was."""
    return _written(folder / FILE)[0]


def _written(path: Path) -> tuple[str | None, int | None]:
    try:
        about = json.loads(path.read_text("utf-8"))
        return str(about["url"]), int(about["process"])
    except (OSError, ValueError, KeyError, TypeError):  # it was never served, or a server is just starting
        return None, None


def _lock(file: IO[str]) -> bool:
    """Locks a file until it is closed or the process ends; False where another process has it.

    On a file system without locks this always succeeds.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        return _lock_first_byte(file)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def _lock_first_byte(file: IO[str]) -> bool:
    import msvcrt

    file.seek(1 << 20)  # beyond what is written, so that others can read it
    try:
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
    except OSError:
        return False
    return True
