"""Ranked sets as Parquet, images embedded: `datasets.load_dataset("parquet", data_files=...)` shows them as images.

| column    | type                                          | what                                |
|-----------|-----------------------------------------------|-------------------------------------|
| `prompt`  | string                                        | what the images were made from      |
| `images`  | list of {`bytes`, `path`}                     | n encoded images                    |
| `ranks`   | list of int32, or null                        | n ranks, 1 is best, ties share      |
| `votes`   | list of {`rater`: string, `ranks`: int32s}    | n ranks of each rater               |
| `systems` | list of string                                | n names of models, or empty         |
| `seeds`   | list of int64                                 | n seeds, or empty                   |
| `scores`  | list of {`scorer`: string, `values`: float64s}| n numbers of each scorer            |

A file may lack any column but `prompt`, `images` and `ranks`; an image without `bytes` is the file at `path`, relative
to the table's folder.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from palate.core.errors import InputError
from palate.core.files import explain_os_errors, partial_name
from palate.records.images import StoredImage
from palate.records.ranked import RankedSet, Vote
from palate.records.tally import Tally

if TYPE_CHECKING:
    import datasets
    import pyarrow as pa

REQUIRED = ("prompt", "images", "ranks")
_BATCH = 64  # rows in memory at a time


def features() -> datasets.Features:
    """The schema, in the words of `datasets`."""
    from datasets import Features, Image, List, Value

    ranks = List(Value("int32"))
    return Features(
        {
            "prompt": Value("string"),
            "images": List(Image()),
            "ranks": ranks,
            "votes": List({"rater": Value("string"), "ranks": ranks}),
            "systems": List(Value("string")),
            "seeds": List(Value("int64")),
            "scores": List({"scorer": Value("string"), "values": List(Value("float64"))}),
        }
    )


def write_sets(sets: Iterable[RankedSet], path: Path | str) -> int:
    """Writes ranked sets as they come, a few at a time; `path` holds all of them or what it held before.

    Returns:
        How many sets there were.

    Raises:
        InputError: an image cannot be read, or there is no set at all.
    """
    return write_rows(map(_row, sets), features().arrow_schema, path, "ranked set")


def write_rows(rows: Iterable[dict[str, Any]], schema: pa.Schema, path: Path | str, what: str) -> int:
    """Writes rows as they come, a few at a time; `path` holds all of them or what it held before.

    Args:
        what: what a row is, for the error that there is none.

    Returns:
        How many rows there were.

    Raises:
        InputError: there is no row at all.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    path, count = Path(path), 0
    partial = partial_name(path)
    with explain_os_errors(f"write {path}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with pq.ParquetWriter(partial, schema) as writer:
                for batch in _batches(rows):
                    writer.write_table(pa.Table.from_pylist(batch, schema))
                    count += len(batch)
            if not count:
                raise InputError(f"no {what} to write to {path}; give a source with at least one")
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    return count


def read_sets(path: Path | str, *, skip_bad: bool = False) -> list[RankedSet]:
    """All ranked sets of a Parquet file, or of every one in a folder, their images checked.

    Args:
        path: a `.parquet` file, or a folder of them.
        skip_bad: leave out rows with a broken image or a ranking that does not fit, instead of stopping.

    Raises:
        InputError: no such file, not this schema, or a bad row; the message names it.
    """
    return list(iterate_sets(path, Tally(skip_bad)))


def iterate_sets(path: Path | str, tally: Tally) -> Iterator[RankedSet]:
    """As `read_sets`, one at a time; what is left out is counted in `tally`."""
    for file in parquet_files(path):
        for name, row in parquet_rows(file, REQUIRED, features().arrow_schema):
            with tally.row(name):
                yield checked(_ranked_set(row, file.parent, name))


def checked(ranked: RankedSet) -> RankedSet:
    """The same set, once every image in it has been decoded; InputError names one that cannot be."""
    for image in ranked.images:
        image.open()
    return ranked


def parquet_files(path: Path | str) -> list[Path]:
    """The file itself, or the `.parquet` files of a folder, by name.

    Raises:
        InputError: there is none.
    """
    path = Path(path)
    files = sorted(path.glob("*.parquet")) if path.is_dir() else [path] if path.is_file() else []
    if not files:
        raise InputError(f"no .parquet file at {path}; give a Parquet file or a folder with some")
    return files


def parquet_columns(file: Path) -> list[str]:
    """The names of a Parquet file's columns; InputError where it is none."""
    return parquet_schema(file).names


def parquet_schema(file: Path) -> pa.Schema:
    """The columns of a Parquet file with their types; InputError where it is none."""
    with _parquet_file(file) as table:
        return table.schema_arrow


def parquet_rows(file: Path, required: Iterable[str], schema: pa.Schema) -> Iterator[tuple[str, dict[str, Any]]]:
    """Rows of a Parquet file with the name of each for an error; columns that `schema` lacks are not read.

    Raises:
        InputError: the file lacks required columns, or a column has another type; before the first row.
    """
    with _parquet_file(file) as table:
        found = table.schema_arrow.names
        if missing := [name for name in required if name not in found]:
            raise InputError(f"{file} lacks the columns {', '.join(missing)}; it has {', '.join(found)}")
        columns = [field for field in schema if field.name in found]
        batches, number = table.iter_batches(_BATCH, columns=[field.name for field in columns]), 0
        while values := _values(batches, columns, file):
            for row in zip(*values.values()):
                yield f"row {number} of {file}", dict(zip(values, row))
                number += 1


def _values(batches: Iterator[pa.RecordBatch], columns: Sequence[pa.Field], file: Path) -> dict[str, list[Any]]:
    """The next values of each column; none at the end."""
    with damage_named(file):
        batch = next(batches, None)
        if batch is None:
            return {}
        return {field.name: _cast(batch.column(field.name), field, file).to_pylist() for field in columns}


@contextmanager
def damage_named(file: Path) -> Iterator[None]:
    """Turns what pyarrow raises on a damaged file into an InputError that names it."""
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"{file} cannot be read as Parquet ({first}); fetch or write it again") from error


def _cast(column: pa.Array, field: pa.Field, file: Path) -> pa.Array:
    import pyarrow as pa

    try:
        return column.cast(field.type)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError, ValueError) as error:
        raise InputError(
            f"the column {field.name!r} of {file} is {column.type}, which does not read as {field.type}; convert it"
        ) from error


def _parquet_file(file: Path) -> Any:
    import pyarrow.parquet as pq

    with damage_named(file):
        return pq.ParquetFile(file)


def _batches(rows: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    batch: list[dict[str, Any]] = []
    for one in rows:
        batch.append(one)
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _row(ranked: RankedSet) -> dict[str, Any]:
    return {
        "prompt": ranked.prompt,
        "images": [embedded(image) for image in ranked.images],
        "ranks": ranked.ranks,
        "votes": [{"rater": vote.rater, "ranks": vote.ranks} for vote in ranked.votes],
        "systems": ranked.systems,
        "seeds": ranked.seeds,
        "scores": [{"scorer": name, "values": values} for name, values in ranked.scores.items()],
    }


def _ranked_set(row: dict[str, Any], folder: Path, name: str) -> RankedSet:
    images = [image_of(image or {}, folder, f"{place} of {name}") for place, image in enumerate(row["images"] or (), 1)]
    ranks = row["ranks"]
    return RankedSet(
        prompt=row["prompt"] or "",
        images=tuple(images),
        ranks=None if ranks is None else tuple(ranks),
        votes=tuple(Vote(vote["rater"], tuple(vote["ranks"])) for vote in row.get("votes") or ()),
        systems=tuple(row.get("systems") or ()),
        seeds=tuple(row.get("seeds") or ()),
        scores={score["scorer"]: tuple(score["values"]) for score in row.get("scores") or ()},
    )


def embedded(image: StoredImage) -> dict[str, Any]:
    """An image as a Parquet column of `datasets.Image` holds it."""
    return {"bytes": image.read(), "path": image.path.name if image.path else None}


def image_of(image: dict[str, Any], folder: Path, name: str) -> StoredImage:
    """The image of such a column's value.

    Args:
        folder: what its path is relative to.
        name: what to call it in errors.
    """
    if image.get("bytes") is None and image.get("path"):
        return StoredImage(path=folder / image["path"])
    return StoredImage(data=image.get("bytes") or b"", name=name)
