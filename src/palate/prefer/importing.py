"""`palate prefer import`: published preferences, or a user's own, as a run folder of ranked sets."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from palate.core.errors import nearest
from palate.core.runs import RunFolder
from palate.prefer.indexing import sources
from palate.prefer.load import FORMATS, OWN, detect, iterate_format, locate, parts_of
from palate.prefer.readers.reader import Selection
from palate.prefer.stage import FREE, digest_rows, write_preferences
from palate.records.parquet_io import parquet_sources
from palate.records.tally import Tally

AUTO = "auto"


@dataclass(frozen=True, kw_only=True)
class ImportConfig:
    """What to import."""

    source: str
    """A published data set, an export of Label Studio or Argilla, a table of your own pairs or rankings, or ranked sets
    of Palate's own; docs/data.md lists the formats."""
    out: Path
    """Run folder."""
    format: str = AUTO
    """Format of the source, by its name in docs/data.md; auto detects it from its files, columns and keys."""
    split: str | None = None
    """Which split to read of a source with several, such as test; all reads all of them. When left out, train if there
    is one."""
    confidence: float | None = None
    """Leave out pairs whose confidence in the source is lower than this, or not known; HPSv3 was trained with 0.95."""
    limit: int | None = None
    """Take only the first so many ranked sets."""
    skip_bad: bool = False
    """Leave out rows with a broken image or a ranking that does not match, and count them, instead of stopping."""
    in_place: bool = False
    """Leave the images where they are and write only their places; the source must then stay unchanged."""

    def __post_init__(self) -> None:
        if self.limit is not None and self.limit <= 0:
            raise ValueError(f"limit must be above zero, not {self.limit}")
        if self.format not in (AUTO, *FORMATS):
            hint = nearest(self.format, FORMATS)
            raise ValueError(f"format is one of {AUTO}, {', '.join(FORMATS)}, not {self.format!r}{hint}")
        if self.confidence is not None and not 0 <= self.confidence <= 1:
            raise ValueError(f"confidence is a number from 0 to 1, not {self.confidence}")


def import_preferences(config: ImportConfig) -> Path:
    """Reads a source, decodes every image, and writes Palate's own Parquet with the images or their places.

    Returns:
        The run folder.

    Raises:
        InputError: there is no such source, its format is unknown, or a row is bad; no Parquet file is written then.
        RunFolderError: the folder contains another run.
    """
    path, tally = locate(config.source), Tally(config.skip_bad)
    kind = detect(path) if config.format == AUTO else config.format
    run = RunFolder.open(config.out, "prefer import", config, free=FREE, inputs={"source": _state(path)})
    selection = Selection(config.split, config.confidence)
    sets = islice(iterate_format(kind, path, tally, selection), config.limit)
    about = sources(path, *images_elsewhere(kind, path)) if config.in_place else None
    write_preferences(run, sets, tally, config.limit, about=about)
    return run.path


def images_elsewhere(kind: str, path: Path) -> list[Path]:
    """The files and folders that hold the images of ranked sets which were themselves imported in place."""
    parts = parts_of(path, Tally()) if kind == OWN else []
    return sorted({source for part in parts for source, _ in parquet_sources(part)})


def _state(path: Path) -> str:
    """A digest of the names, sizes and times of a source's files; their contents may be too large to read."""
    files = [path] if path.is_file() else sorted(each for each in path.rglob("*") if each.is_file())
    found = ((file, file.stat()) for file in files)
    return digest_rows([file.relative_to(path).as_posix(), of.st_size, of.st_mtime_ns] for file, of in found)
