"""Indexes: what training reads in the place of feedback that does not say what its images are.

A Parquet file that has the facts of its images (`palate prefer` writes them) needs none. Any other source is read once,
every image decoded on the way; the cache folder keeps a Parquet file with its prompts and ranks or grades and, in the
place of images, their facts and where they are. The source itself is used where it is; where it has changed, it is
indexed again.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from palate.core.cache_folder import Entry, default_root, digest
from palate.core.errors import InputError
from palate.records.image_folder import IMAGE_ENDINGS
from palate.records.parquet import has_facts
from palate.records.parquet_io import parquet_about
from palate.records.table_files import TABLE_ENDINGS

INDEX, SOURCES = "index.parquet", "palate.sources"
VERSION = 1  # of what an index holds; one of another version is made again
READ = (*IMAGE_ENDINGS, *TABLE_ENDINGS, ".gz", ".txt", ".caption", ".parquet", ".arrow", ".webp", ".avif")
_IN_USE: dict[Path, Entry] = {}
"""The indexes that this process has read: they stay, since an index may hold images that are nowhere else."""


def indexed(part: Path, kind: str, write: Callable[[Path, Mapping[str, str]], object], cache: Path | None) -> Path:
    """The index of a source, made now where there is none of the source as it is.

    Args:
        part: a file or folder of feedback.
        kind: of feedback and format.
        write: writes the source's records, with places instead of images and this about them, to a file.
        cache: the cache folder; the default one when left out.

    Raises:
        InputError: as of `write`, for a bad row.
    """
    part = part.resolve()
    name = f"{kind}-{digest(str(part), kind, VERSION)}"
    entry = Entry((cache or default_root()) / "index" / name, {"kind": "index", "data": str(part), "format": kind})
    file, about = entry.folder / INDEX, sources(part)
    with entry.writing():
        if not file.is_file() or parquet_about(file).get(SOURCES) != about[SOURCES]:
            write(file, about)
    _IN_USE[entry.folder] = entry
    return file


def sources(path: Path) -> dict[str, str]:
    """What a table says of the files that its images are in, so that a later change of them is seen."""
    return {SOURCES: json.dumps([[str(path.resolve()), source_fingerprint(path)]])}


def is_whole(file: Path, *, listed: bool = True) -> bool:
    """Whether a Parquet file has the facts of its images, and where they are in other files, these are as they were.

    Args:
        listed: as of `has_facts`.

    Raises:
        InputError: they have changed.
    """
    if not has_facts(file, listed=listed):
        return False
    for path, before in json.loads(parquet_about(file).get(SOURCES, "[]")):
        if not Path(path).exists():
            raise InputError(f"{file} has its images in {path}, which is not there; put it back, or import it again")
        if source_fingerprint(Path(path)) != before:
            raise InputError(f"{path} has changed since {file} was made of it; import it again")
    return True


def source_fingerprint(path: Path) -> str:
    """Names, sizes and times of a file, or of every table and picture in a folder: what changes when they do."""
    found = hashlib.blake2b(digest_size=16)
    for name, file in sorted(_files(path)):
        found.update(f"{name}\x1f{file.st_size}\x1f{file.st_mtime_ns}\n".encode(errors="surrogateescape"))
    return found.hexdigest()


def _files(path: Path) -> Iterator[tuple[str, os.stat_result]]:
    if path.is_file():
        yield path.name, path.stat()
        return
    for entry in os.scandir(path):
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            for name, found in _files(Path(entry.path)):
                yield f"{entry.name}/{name}", found
        elif entry.name.lower().endswith(READ):
            yield entry.name, entry.stat()
