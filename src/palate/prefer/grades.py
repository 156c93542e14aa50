"""Graded images from wherever they are: a run of `palate prefer grade`, a Parquet file, or a folder with a table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from palate.core.errors import InputError
from palate.core.runs import read_config
from palate.prefer.load import built_in
from palate.prefer.readers.pair_folder import TABLES
from palate.records.graded import GradedImage
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
    for name, row, image in _rows(path, source):
        with tally.row(name):
            image.open()
            graded.append(GradedImage(str(row["prompt"] or ""), image, _number(row["grade"])))
    if not graded:
        raise InputError(f"{source} has no graded image; give a source with at least one")
    return graded


def _rows(path: Path, source: str | Path) -> Iterator[tuple[str, dict[str, Any], StoredImage]]:
    path = path / GRADES if (path / GRADES).is_file() else path
    table = next((path / name for name in TABLES if (path / name).is_file()), None)
    if table:
        rows = read_table(table, "table of graded images")
        _require(FOLDER_COLUMNS, list(rows[0]) if rows else [], source)
        for number, row in enumerate(rows):
            yield f"row {number} of {table}", row, StoredImage(path=path / str(row["file_name"]))
    elif path.suffix == ".parquet" and path.is_file():
        _require(COLUMNS, parquet_columns(path), source)
        for name, row in parquet_rows(path, COLUMNS, features().arrow_schema):
            yield name, row, image_of(row["image"] or {}, path.parent, name)
    else:
        stage = (read_config(path) or {}).get("stage", "") if path.is_dir() else ""
        raise InputError(_mend(source, f"a run of `palate {stage}`" if stage else "none"))


def _require(needed: Iterable[str], found: list[str], source: str | Path) -> None:
    if missing := [name for name in needed if name not in found]:
        raise InputError(_mend(source, f"without {', '.join(missing)}; it has {', '.join(found) or 'no rows'}"))


def _mend(source: str | Path, what: str) -> str:
    return (
        f"graded images (prompt, image, a grade in [0, 1]) are what this method learns from, and {source} is {what}; "
        f"`palate prefer grade` makes them of rankings or scores"
    )


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        raise InputError(f"the grade {value!r} is no number") from error
