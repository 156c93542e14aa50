"""Loading graded images: from a run of `palate prefer grade`, a Parquet file, or a folder with a table."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from palate.core.errors import InputError
from palate.core.progress import track
from palate.core.runs import read_config
from palate.prefer.indexing import indexed, is_whole
from palate.prefer.load import HINT, READERS, built_in
from palate.prefer.readers.reader import EVERYTHING, Selection
from palate.records import checked
from palate.records.columns import Grades
from palate.records.graded_image import GradedImage
from palate.records.graded_parquet import COLUMNS, iterate_graded, write_graded
from palate.records.image_folder import table_of
from palate.records.images import StoredImage
from palate.records.parquet import parquet_columns
from palate.records.read_columns import read_grades
from palate.records.table_files import read_table
from palate.records.tally import Tally

GRADES = "grades.parquet"
FOLDER_COLUMNS = ("file_name", "prompt", "grade")


def load_graded(source: str | Path, cache: Path | None = None) -> Grades:
    """All graded images of a source in columns; each image was decoded as a check, now or when it was written.

    Args:
        source: a run of `palate prefer grade`; a Parquet file with the columns `prompt`, `image` and `grade`; a
            folder of images whose `metadata.csv` or `metadata.jsonl` has `file_name`, `prompt` and `grade`; or a data
            set of scored images in one of the formats of `READERS`.
        cache: the cache folder for the index of a source without the facts of its images.

    Raises:
        InputError: there is no such source, it has rankings instead of grades, a row is bad, a grade is outside [0, 1],
            or there are no graded images.
    """
    path = _locate(source)
    if path.is_dir() or not is_whole(path, listed=False):

        def write(file: Path, about: Any) -> None:
            write_graded(track(_iterate(path, Tally(hint=HINT)), "index graded images"), file, embed=False, about=about)

        path = indexed(path, "grades", write, cache)
    graded = read_grades([path])
    if not len(graded):
        raise InputError(f"{source} has no graded image; give a source with at least one")
    return graded


def _locate(source: str | Path) -> Path:
    """The Parquet file, or the folder with a table, that a source names."""
    path = Path(source).expanduser()
    if str(source) in built_in():
        raise InputError(_fix(source, "a set of rankings"))
    path = path / GRADES if (path / GRADES).is_file() else path
    if table_of(path) or _reader(path):
        return path
    if path.suffix == ".parquet" and path.is_file():
        _require(COLUMNS, parquet_columns(path), source)
        return path
    stage = (read_config(path) or {}).get("stage", "") if path.is_dir() else ""
    raise InputError(_fix(source, f"a run of `palate {stage}`" if stage else "none"))


def _reader(path: Path) -> Callable[[Path, Tally, Selection], Iterator[GradedImage]] | None:
    """What reads graded images of a published format; None where it is no such format."""
    return next((reader.grades for reader in READERS.values() if reader.grades and reader.matches(path)), None)


def _iterate(path: Path, tally: Tally) -> Iterator[GradedImage]:
    table = table_of(path)
    if reader := _reader(path):
        yield from reader(path, tally, EVERYTHING)
        return
    if not table:
        yield from iterate_graded(path, tally)
        return
    rows = read_table(table, "table of graded images", tally)
    _require(FOLDER_COLUMNS, list(rows[0][1]) if rows else [], path)
    for name, row in rows:
        with tally.row(name):
            image = StoredImage(path=checked.file_in(path, row.get("file_name"), "the file_name")).checked()
            yield GradedImage(checked.prompt_in(row), image, checked.finite_number(row.get("grade"), "the grade"))


def _require(needed: Iterable[str], found: list[str], source: str | Path) -> None:
    if missing := [name for name in needed if name not in found]:
        raise InputError(_fix(source, f"without {', '.join(missing)}; it has {', '.join(found) or 'no rows'}"))


def _fix(source: str | Path, what: str) -> str:
    return (
        f"this method learns from graded images (prompt, image, a grade in [0, 1]), and {source} is {what}; "
        f"`palate prefer grade` makes them from rankings or scores"
    )
