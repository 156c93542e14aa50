"""The cache folder with the entries that stages keep for later runs; each entry is a folder that describes itself.

<root>/<stage>/<kind>-<digest>/about.json   a description of the entry, for `palate cache`
                               in-use       locked while a process uses the entry; its time is that of the last use
                               ...          the data of the stage
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import time
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from palate.core.errors import InputError, PalateError, nearest
from palate.core.files import explain_os_errors, partial_name
from palate.core.json_files import write_json

if TYPE_CHECKING:
    import numpy

try:
    import fcntl
except ImportError:  # Windows has no such locks: there, entries never count as in use
    fcntl = None  # type: ignore[assignment]

ABOUT, IN_USE, BEING_WRITTEN = "about.json", "in-use", "being-written"
STAGES = ("align", "reward", "index", "models", "score")
OLD = re.compile(r"(?:(?:image|prompt)-features|latents|prompts|errors)-[0-9a-f]{24}(?:-\d+)?\.safetensors")
"""Files of version 0.1, which had no descriptions."""
SPARE = 0.05  # the share of the free disk space that is never used


def default_root() -> Path:
    """`$PALATE_CACHE`, or `palate` in the user's cache folder."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("PALATE_CACHE") or Path(home) / "palate").expanduser()


def digest(*parts: object) -> str:
    """A short name of an entry, the same for equal parts."""
    return hashlib.blake2b(json.dumps(parts, default=str).encode(), digest_size=12).hexdigest()


def array_digest(array: numpy.ndarray) -> str:
    """A short name for an array's numbers and shape."""
    import numpy as np

    found = hashlib.blake2b(f"{array.dtype.str} {array.shape}".encode(), digest_size=16)
    found.update(np.ascontiguousarray(array).data)
    return found.hexdigest()


def texts_digest(texts: Sequence[str]) -> str:
    """A short name for texts in their order."""
    found = hashlib.blake2b(digest_size=16)
    for text in texts:
        data = text.encode(errors="surrogatepass")
        found.update(len(data).to_bytes(8, "little") + data)
    return found.hexdigest()


def library_versions(*libraries: str) -> str:
    """The installed versions of libraries, for the digest of what they compute: another version may compute otherwise.

    >>> library_versions("numpy").split()[0]
    'numpy'
    """
    return ", ".join(f"{library} {version(library)}" for library in libraries)


class Entry:
    """One entry, in use for as long as this object lives.

    Args:
        folder: the folder of the entry; it is made if it does not exist.
        about: a description in plain JSON: `kind`, `model`, `data` and the like.

    Raises:
        PalateError: the disk is full or the folder may not be written to.
    """

    def __init__(self, folder: Path, about: Mapping[str, Any]) -> None:
        self.folder = folder
        with explain_os_errors(f"use the cache {folder}"):
            self._release = weakref.finalize(self, os.close, self._locked())
            if not (folder / ABOUT).is_file():
                write_json(folder / ABOUT, about)

    def close(self) -> None:
        """Ends the use of the entry; other processes may delete it then."""
        self._release()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """A block that one process at a time can be in; the others wait."""
        with explain_os_errors(f"write the cache {self.folder}"):
            lock = os.open(self.folder / BEING_WRITTEN, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            if fcntl:
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def _locked(self) -> int:
        """The open and locked file that marks the entry as in use."""
        while True:
            self.folder.mkdir(parents=True, exist_ok=True)
            file = self.folder / IN_USE
            with contextlib.suppress(FileNotFoundError):  # deleted between the two lines
                lock = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
                if fcntl:
                    fcntl.flock(lock, fcntl.LOCK_SH)
                if file.is_file() and os.fstat(lock).st_ino == file.stat().st_ino:  # not deleted while we waited
                    os.utime(file)
                    return lock
                os.close(lock)


@dataclass(frozen=True)
class ListedEntry:
    """An entry as `palate cache` lists it.

    Attributes:
        path: the entry's folder, or the file of an older version.
        about: its description.
        size: on the disk, in bytes.
        used: the time of the last use, in seconds since 1970.
    """

    path: Path
    about: Mapping[str, Any]
    size: int
    used: float

    @property
    def in_use(self) -> bool:
        """Whether a process of this machine is using it."""
        return self._lock(keep=False) is None

    def delete(self) -> bool:
        """Deletes the entry unless it is in use; returns whether it was deleted."""
        if self.path.is_file():
            self.path.unlink(missing_ok=True)
            return True
        lock = self._lock(keep=True)
        if lock is None:
            return False
        aside = partial_name(self.path)
        with explain_os_errors(f"delete {self.path}"):
            self.path.rename(aside)
            shutil.rmtree(aside)
        os.close(lock)
        return True

    def _lock(self, *, keep: bool) -> int | None:
        """The open file, locked by this process; None where another process has locked it."""
        if self.path.is_file():
            return -1
        lock = os.open(self.path / IN_USE, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            if fcntl:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            return None
        if not keep:
            os.close(lock)
        return lock


def list_entries(root: Path) -> list[ListedEntry]:
    """The entries of a cache folder, the last used first; other files are ignored."""
    found = []
    for stage in STAGES:
        for path in (root / stage).glob("*"):
            if (path / ABOUT).is_file():
                used = path / IN_USE if (path / IN_USE).exists() else path
                found.append(ListedEntry(path, _about(path / ABOUT), _size(path.rglob("*")), used.stat().st_mtime))
            elif OLD.fullmatch(path.name) and path.is_file():
                about = {"kind": path.name.rpartition("-")[0].split("-0")[0], "data": "of version 0.1"}
                found.append(ListedEntry(path, about, _size([path]), path.stat().st_mtime))
    return sorted(found, key=lambda each: -each.used)


def select_entries(found: Iterable[ListedEntry], names: Iterable[str], older_than: float | None) -> list[ListedEntry]:
    """The entries with the given names or beginnings of names, those unused for a number of seconds, or all.

    Raises:
        InputError: no entry or several entries have a name.
    """
    found, now = list(found), time.time()
    if not (names := list(names)):
        return [each for each in found if older_than is None or now - each.used >= older_than]
    picked = []
    for name in names:
        alike = [each for each in found if each.path.name.startswith(name)]
        exact = [each for each in alike if each.path.name == name] or alike
        if len(exact) != 1:
            several = f"{len(exact)} entries begin with {name!r}; give more of the name" if exact else ""
            close = nearest(name, (each.path.name for each in found))
            raise InputError(several or f"there is no entry {name!r}{close} (`palate cache` lists all)")
        picked.append(exact[0])
    return picked


def require_space(folder: Path, needed: int, what: str, fix: str) -> None:
    """Raises PalateError, before anything is written, where a folder's disk has too little free space.

    Args:
        needed: the number of bytes.
        what: what needs them, such as `"the latents of 400 images"`.
        fix: what the user can do instead.
    """
    there = next(each for each in (folder, *folder.absolute().parents) if each.exists())
    free = int(shutil.disk_usage(there).free * (1 - SPARE))
    if needed > free:
        raise PalateError(f"{what} would take {size_text(needed)}, and {there} has {size_text(free)} left; {fix}")


def size_text(size: float) -> str:
    """A number of bytes as text: `1.5 GB`, in powers of 1000."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"


def _about(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        found = None
    return found if isinstance(found, dict) else {"kind": "damaged"}


def _size(files: Iterable[Path]) -> int:
    """Bytes on the disk; a sparse file counts only the blocks that are written."""
    found = [file.stat() for file in files if file.is_file()]
    return sum(getattr(each, "st_blocks", each.st_size // 512) * 512 for each in found)
