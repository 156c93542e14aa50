"""Graded images from wherever they are: a run of `palate prefer grade`, a Parquet file, or a folder with a table."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from palate.core.errors import InputError
from palate.core.runs import read_config
from palate.prefer.load import built_in
from palate.records import checked
from palate.records.graded import GradedImage
from palate.records.image_folder import table_of
from palate.records.images import StoredImage
from palate.records.parquet import embedded, image_of, parquet_columns, parquet_rows, write_rows
from palate.records.tables import read_table
from palate.records.tally import Tally

if TYPE_CHECKING:
    import datasets

GRADES = "grades.parquet"
COLUMNS = ("prompt", "image", "grade")
FOLDER_COLUMNS = ("file_name", "prompt", "grade")


def features() -> datasets.Features:
    """The schema of a Parquet file of graded images, in the words of `datasets`."""
    from datasets import Features, Image, Value

    return Features({"prompt": Value("string"), "image": Image(), "grade": Value("float64")})


def write_graded(images: Iterable[GradedImage], path: Path | str) -> int:
    """Writes graded images, embedded, as they come; `path` holds all of them or what it held before.

    Returns:
        How many there were.

    Raises:
        InputError: an image cannot be read, or there is none at all.
    """
    rows = ({"prompt": each.prompt, "image": embedded(each.image), "grade": each.grade} for each in images)
    return write_rows(rows, features().arrow_schema, path, "graded image")


def load_graded(source: str | Path, *, skip_bad: bool = False) -> list[GradedImage]:
    """Every graded image of a source, each decoded once to be sure of it.

    Args:
        source: a run of `palate prefer grade`; a Parquet file with the columns `prompt`, `image` and `grade`; or a
            folder of images whose `metadata.csv` or `metadata.jsonl` has `file_name`, `prompt` and `grade`.
        skip_bad: leave out bad rows instead of stopping.

    Raises:
        InputError: no such source, rankings instead of grades, a bad row, a grade outside [0, 1], or none at all.
    """
    path, tally = Path(source).expanduser(), Tally(skip_bad)
    if str(source) in built_in():
        raise InputError(_mend(source, "a set of rankings"))
    graded = []
    for name, make in _rows(path, source, tally):
        with tally.row(name):
            found = make()
            found.image.open()
            graded.append(found)
    if not graded:
        raise InputError(f"{source} has no graded image; give a source with at least one")
    return graded


def _rows(path: Path, source: str | Path, tally: Tally) -> Iterator[tuple[str, Callable[[], GradedImage]]]:
    """The name of each row, and what makes a graded image of it."""
    path = path / GRADES if (path / GRADES).is_file() else path
    table = table_of(path)
    if table:
        rows = read_table(table, "table of graded images", tally)
        _require(FOLDER_COLUMNS, list(rows[0][1]) if rows else [], source)
        for name, row in rows:
            yield name, partial(_of_table, row, path)
    elif path.suffix == ".parquet" and path.is_file():
        _require(COLUMNS, parquet_columns(path), source)
        for name, row in parquet_rows(path, COLUMNS, features().arrow_schema):
            yield name, partial(_graded, row, image_of(row["image"] or {}, path.parent, name))
    else:
        stage = (read_config(path) or {}).get("stage", "") if path.is_dir() else ""
        raise InputError(_mend(source, f"a run of `palate {stage}`" if stage else "none"))


def _of_table(row: dict[str, Any], folder: Path) -> GradedImage:
    return _graded(row, StoredImage(path=checked.file_in(folder, row.get("file_name"), "the file_name")))


def _graded(row: dict[str, Any], image: StoredImage) -> GradedImage:
    return GradedImage(checked.prompt_in(row), image, checked.number(row.get("grade"), "the grade"))


def _require(needed: Iterable[str], found: list[str], source: str | Path) -> None:
    if missing := [name for name in needed if name not in found]:
        raise InputError(_mend(source, f"without {', '.join(missing)}; it has {', '.join(found) or 'no rows'}"))


def _mend(source: str | Path, what: str) -> str:
    return (
        f"graded images (prompt, image, a grade in [0, 1]) are what this method learns from, and {source} is {what}; "
        f"`palate prefer grade` makes them of rankings or scores"
    )
