"""Files that are complete or absent, and operating-system errors explained in words.

Everything is first written to a temporary file in the same folder and then renamed, so a process that is killed at any
moment, or a full disk, leaves the previous file or none, and never an incomplete one.
"""

from __future__ import annotations

import errno
import glob
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from palate.core.errors import InputError, PalateError, nearest

PARTIAL = ".part"  # suffix of what is still being written

_FIXES = {
    errno.ENOSPC: "free some space, then run the same command again",
    errno.EDQUOT: "free some of your quota, then run the same command again",
    errno.EFBIG: "raise the file-size limit (ulimit -f), then run the same command again",
    errno.EACCES: "choose another folder, or ask for permission to use this one",
    errno.EPERM: "choose another folder, or ask for permission to use this one",
    errno.EROFS: "choose a folder on a file system that can be written to",
    errno.ENOENT: "check the path",
    errno.ENOTDIR: "a part of the path is a file; choose another path",
    errno.EISDIR: "the path is a folder; name a file",
    errno.EEXIST: "the path is already taken; choose another",
    errno.ENAMETOOLONG: "choose a shorter path",
    errno.EMFILE: "raise the limit of open files (ulimit -n), then run the same command again",
    errno.EIO: "the disk or network share is failing; choose another",
}
_RUST_OS_ERROR = re.compile(r"\(os error (\d+)\)")  # how safetensors and tokenizers pass on an OSError


@contextmanager
def explain_os_errors(what: str) -> Iterator[None]:
    """Turns an operating-system error inside the block into a `PalateError` that says what failed and how to fix it.

    Args:
        what: the work of the block, as it follows "cannot", such as `"write the report"`.

    Errors without a known error number (a hub that cannot be reached, say) pass through unchanged.
    """
    try:
        yield
    except Exception as error:
        code = _error_number(error)
        if code is None or isinstance(error, BrokenPipeError):  # a reader that ended, such as `| head`, is not an error
            raise
        path = f"{error.filename}: " if isinstance(error, OSError) and error.filename else ""
        fix = f"; {_FIXES[code]}" if code in _FIXES else ""
        raise PalateError(f"cannot {what}: {path}{os.strerror(code)}{fix}") from error


def _error_number(error: Exception) -> int | None:
    if isinstance(error, OSError):
        return error.errno
    rust = _RUST_OS_ERROR.search(str(error))
    return int(rust.group(1)) if rust else None


def partial_name(path: Path) -> Path:
    """A hidden sibling of `path` to write to before renaming; unique, so that two processes never share one."""
    return path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}{PARTIAL}")


def write_atomic(path: Path | str, data: str | bytes, mode: int = 0o666) -> None:
    """Writes `data` (text as UTF-8); after an error, `path` is as it was before. Makes the parent folders.

    Args:
        mode: the permissions of a new file, before the process's umask; 0o600 is for its owner only.

    Raises:
        PalateError: the disk is full, the folder may not be written to, and the like.
    """
    path = Path(path)
    partial = partial_name(path)
    with explain_os_errors(f"write {path}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(partial, "wb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
                file.write(data.encode() if isinstance(data, str) else data)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise


@contextmanager
def atomic_folder(path: Path | str) -> Iterator[Path]:
    """A temporary folder, which is renamed to `path` when the block ends without an error and deleted otherwise.

    An existing `path` is replaced. The remains of an earlier attempt that was killed are deleted first, so only one
    process at a time may write the same `path`.

    Raises:
        PalateError: the disk is full, the folder may not be written to, and the like.
    """
    path = Path(path)
    partial = partial_name(path)
    with explain_os_errors(f"write {path}"):
        _clear_remains(path)
        partial.mkdir(parents=True)
        try:
            yield partial
            if path.exists():
                path.rename(partial_name(path))
            partial.rename(path)
        finally:
            _clear_remains(path)


def _clear_remains(path: Path) -> None:
    for remains in path.parent.glob(f".{glob.escape(path.name)}.*{PARTIAL}"):
        shutil.rmtree(remains, ignore_errors=True)


def require_file(path: Path | str, what: str) -> Path:
    """The path, if it is a file.

    Args:
        what: what the file is to the user, such as `"prompt file"`.

    Raises:
        InputError: there is no such file; the message has the nearest name in the same folder.
    """
    path = Path(path)
    with explain_os_errors(f"read the {what}"):  # a name may be longer than any file's
        if path.is_dir():
            raise InputError(f"{what} '{path}' is a folder; name a file in it")
        if not path.is_file():
            raise InputError(f"{what} '{path}' does not exist{_nearest_sibling(path)}")
    return path


def require_folder(path: Path | str, what: str) -> Path:
    """The path, if it is a folder; otherwise an `InputError` as for `require_file`."""
    path = Path(path)
    with explain_os_errors(f"read the {what}"):
        if path.is_file():
            raise InputError(f"{what} '{path}' is a file; name the folder that holds it")
        if not path.is_dir():
            raise InputError(f"{what} '{path}' does not exist{_nearest_sibling(path)}")
    return path


def _nearest_sibling(path: Path) -> str:
    folder = path.parent
    if not folder.is_dir():
        return f" (nor does the folder '{folder}')"
    try:
        return nearest(path.name, (sibling.name for sibling in folder.iterdir()))
    except PermissionError:
        return ""
