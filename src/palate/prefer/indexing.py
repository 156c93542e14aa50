"""Indexes, which training reads instead of a source of feedback without the facts of its images.

A Parquet file that has the facts of its images (`palate prefer` writes them) needs no index. Any other source is read
once and every image is decoded; then the cache folder keeps a Parquet file with the prompts, the ranks or grades and,
instead of the images, their facts and places. The images stay in the source; where it has changed, it is indexed again.
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
from palate.records.parquet_io import SOURCES, parquet_about, parquet_sources
from palate.records.table_files import TABLE_ENDINGS

INDEX = "index.parquet"
VERSION = 2  # of the contents of an index; an index of another version is made again
READ = (*IMAGE_ENDINGS, *TABLE_ENDINGS, ".gz", ".txt", ".caption", ".parquet", ".arrow", ".webp", ".avif")
_IN_USE: dict[Path, Entry] = {}
"""The indexes that this process has read; they stay in use, since an index may contain images that only it has."""


def indexed(part: Path, kind: str, write: Callable[[Path, Mapping[str, str]], object], cache: Path | None) -> Path:
    """The index of a source; it is made if there is none for the present state of the source.

    Args:
        part: a file or folder of feedback.
        kind: the kind of feedback, or its format.
        write: called with a file and metadata; writes the source's records, with places instead of images, and this
            metadata to the file.
        cache: the cache folder; the default one when left out.

    Raises:
        InputError: as raised by `write`, for a bad row.
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


def sources(*paths: Path) -> dict[str, str]:
    """The metadata of a table about the files and folders with its images; it detects a later change of them."""
    return {SOURCES: json.dumps([[os.path.normpath(path.absolute()), source_fingerprint(path)] for path in paths])}


def is_whole(file: Path, *, listed: bool = True) -> bool:
    """Whether a Parquet file has the facts of its images.

    Args:
        listed: as for `has_facts`.

    Raises:
        InputError: the images are in other files, and these have changed.
    """
    if not has_facts(file, listed=listed):
        return False
    for path, before in parquet_sources(file):
        if not path.exists():
            raise InputError(
                f"the images of {file} are in {path}, which does not exist; put it back or import it again"
            )
        if source_fingerprint(path) != before:
            raise InputError(f"{path} has changed since {file} was made from it; import it again")
    return True


def source_fingerprint(path: Path) -> str:
    """A digest of the names, sizes and times of a file, or of all tables and images in a folder."""
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
