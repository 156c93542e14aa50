"""Parquet files as rows: each row has a name for errors; files are written a row group at a time, completely or not."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from palate.core.errors import InputError
from palate.core.files import explain_os_errors, partial_name
from palate.core.values import shown
from palate.records import checked
from palate.records.images import Place, StoredImage
from palate.records.places import damage_named, open_parquet, rows_at_once

if TYPE_CHECKING:
    import pyarrow as pa

READ_ROWS = 64  # in memory at a time
GROUP_BYTES = 2**25
"""The bytes of images in a row group, unless a single row has more: small enough to read one image from it, and far
below the limit of 2 GiB of Arrow's binary columns."""
GROUP_ROWS = 1024
SOURCES = "palate.sources"
"""The key of a file's metadata that lists the files and folders with its images, if the images are not in the file."""


class RowName(str):
    """The name of a row of a Parquet file in errors; it also knows the places of the row's images.

    Args:
        file: the Parquet file.
        number: the number of the row, from 0.
    """

    file: Path
    number: int

    def __new__(cls, file: Path, number: int) -> RowName:
        """The name, with the file and the row number as attributes."""
        name = super().__new__(cls, f"row {number} of {file}")
        name.file, name.number = file, number
        return name

    def image(self, data: bytes | None, column: str, item: int = -1) -> StoredImage:
        """The image whose bytes are in a column of this row; `item` as for `Place`."""
        place = Place(self.file, self.number, column, item)
        return StoredImage(data=data or b"", place=place, name=str(place))


def parquet_files(path: Path | str) -> list[Path]:
    """The file itself, or the `.parquet` files of a folder, sorted by name.

    Raises:
        InputError: there is none.
    """
    path = Path(path)
    files = sorted(path.glob("*.parquet")) if path.is_dir() else [path] if path.is_file() else []
    if not files:
        raise InputError(f"no .parquet file at {path}; give a Parquet file or a folder with some")
    return files


def parquet_columns(file: Path) -> list[str]:
    """The names of a Parquet file's columns; InputError where it is not a Parquet file."""
    return parquet_schema(file).names


def parquet_schema(file: Path) -> pa.Schema:
    """The columns of a Parquet file with their types; InputError where it is not a Parquet file."""
    with open_parquet(file) as table, damage_named(file):
        return table.schema_arrow


def parquet_about(file: Path) -> dict[str, str]:
    """The key and value pairs of a Parquet file's metadata."""
    with open_parquet(file) as table, damage_named(file):
        return {key.decode(): value.decode() for key, value in (table.metadata.metadata or {}).items()}


def parquet_sources(file: Path) -> list[tuple[Path, str]]:
    """The files and folders with the images of a Parquet file, each with its fingerprint when the file was written.

    Raises:
        InputError: the metadata has another form than Palate writes.
    """
    try:
        found = json.loads(parquet_about(file).get(SOURCES, "[]"))
        return [(Path(path), fingerprint) for path, fingerprint in found]
    except (ValueError, TypeError, RecursionError) as error:
        raise InputError(f"the metadata {SOURCES!r} of {file} is not as Palate writes it; import it again") from error


def parquet_rows(file: Path, required: Iterable[str], schema: pa.Schema) -> Iterator[tuple[RowName, dict[str, Any]]]:
    """The rows of a Parquet file, each with its name for errors; columns that are not in `schema` are not read.

    Raises:
        InputError: the file lacks required columns, or a column has another type; raised before the first row.
    """
    found = parquet_columns(file)
    with open_parquet(file) as table:
        if missing := [name for name in required if name not in found]:
            raise InputError(f"{file} lacks the columns {', '.join(missing)}; it has {', '.join(found)}")
        columns = [field for field in schema if field.name in found]
        number = 0
        for group in range(table.num_row_groups):
            at_once = rows_at_once(table.metadata, group, READ_ROWS)
            batches = table.iter_batches(at_once, row_groups=[group], columns=[field.name for field in columns])
            while values := _values(batches, columns, file):
                for row in zip(*values.values()):
                    yield RowName(file, number), dict(zip(values, row))
                    number += 1


def _values(batches: Iterator[pa.RecordBatch], columns: Sequence[pa.Field], file: Path) -> dict[str, list[Any]]:
    """The next values of each column; empty at the end."""
    with damage_named(file):
        batch = next(batches, None)
        if batch is None:
            return {}
        return {field.name: cast_column(batch.column(field.name), field, file).to_pylist() for field in columns}


def cast_column(column: pa.Array, field: pa.Field, file: Path) -> pa.Array:
    """A column converted to the type in a schema; InputError where that is not possible."""
    import pyarrow as pa

    try:
        return column.cast(field.type)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError, ValueError) as error:
        raise InputError(
            f"the column {field.name!r} of {file} is {column.type}, which cannot be read as {field.type}; convert it"
        ) from error


def write_rows(
    rows: Iterable[dict[str, Any]],
    schema: pa.Schema,
    path: Path | str,
    what: str | None,
    about: Mapping[str, str] | None = None,
) -> int:
    """Writes rows, one row group at a time; after an error, `path` is as it was before.

    A row group ends after `GROUP_BYTES` of images or `GROUP_ROWS` rows, so that few rows are in memory at a time.

    Args:
        what: what a row is, for the error that there are no rows; None where that is allowed.
        about: key and value pairs for the file's metadata.

    Returns:
        The number of rows.

    Raises:
        InputError: there is no row, and that is not allowed.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    path, count = Path(path), 0
    partial, plain = partial_name(path), [name for name, kind in _leaves(schema) if not pa.types.is_binary(kind)]
    # Images and digests are neither compressed nor searched for repetitions, of which they have none.
    options: dict[str, Any] = {"use_dictionary": plain, "compression": dict.fromkeys(plain, "snappy")}
    schema = schema.with_metadata({**(schema.metadata or {}), **(about or {})})
    with explain_os_errors(f"write {path}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with pq.ParquetWriter(partial, schema, **options) as writer:
                for batch in _groups(rows):
                    writer.write_table(pa.Table.from_pylist(batch, schema))
                    count += len(batch)
            if not count and what:
                raise InputError(f"no {what} to write to {path}; give a source with at least one")
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    return count


def _groups(rows: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """The rows of each row group."""
    group: list[dict[str, Any]] = []
    size = 0
    for row in rows:
        of_row = _bytes_in(row)
        if group and (size + of_row > GROUP_BYTES or len(group) == GROUP_ROWS):
            yield group
            group, size = [], 0
        group.append(row)
        size += of_row
    if group:
        yield group


def _bytes_in(value: Any) -> int:
    """The number of bytes of the images in a row, or in a part of it."""
    if isinstance(value, bytes):
        return len(value)
    if isinstance(value, Mapping):
        return sum(map(_bytes_in, value.values()))
    return sum(map(_bytes_in, value)) if isinstance(value, (list, tuple)) else 0


def _leaves(schema: pa.Schema) -> Iterator[tuple[str, pa.DataType]]:
    """The leaf columns of a schema with their names in Parquet, such as `images.list.element.bytes`."""
    import pyarrow as pa

    def below(name: str, kind: pa.DataType) -> Iterator[tuple[str, pa.DataType]]:
        if pa.types.is_list(kind):
            yield from below(f"{name}.list.element", kind.value_type)
        elif pa.types.is_struct(kind):
            for place in range(kind.num_fields):
                yield from below(f"{name}.{kind.field(place).name}", kind.field(place).type)
        else:
            yield name, kind

    for column in schema:
        yield from below(column.name, column.type)


def image_type() -> pa.DataType:
    """The type of a Parquet column of images, that of `datasets.Image`."""
    import pyarrow as pa

    return pa.struct({"bytes": pa.binary(), "path": pa.string()})


def embedded(image: StoredImage) -> dict[str, Any]:
    """An image as a value of a Parquet column of type `datasets.Image`."""
    return {"bytes": image.read(), "path": image.path.name if image.path else None}


def image_of(image: Mapping[str, Any], name: RowName, column: str, item: int = -1) -> StoredImage:
    """The image of such a value: its bytes, or the file in the table's folder that it names.

    Args:
        image: the value.
        name: the name of its row.
        column, item: as for `Place`.
    """
    if image.get("bytes") is None and image.get("path"):
        return StoredImage(path=checked.file_in(name.file.parent, image["path"], "the path of an image"))
    return name.image(image.get("bytes"), column, item)


class ImageFolders:
    """The folders in which a Parquet file may name images: its own folder, and those of its sources.

    A file that was written on another machine can name no other file of this machine. The caller must check that the
    sources have the fingerprints that the file lists: only this machine knows the fingerprints of its files.

    Args:
        file: the Parquet file.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        made_of = [path if path.is_dir() else path.parent for path, _ in parquet_sources(file)]
        self._begin = _beginnings(os.path.normpath(folder.absolute()) for folder in (file.parent, *made_of))
        self._really = _beginnings(os.path.realpath(folder) for folder in (file.parent, *made_of))

    def check(self, path: str) -> None:
        """Raises an InputError if a file is in none of the folders, which may themselves be reached through links."""
        whole = os.path.normpath(Path(path).absolute())
        if whole.startswith(self._begin):
            return
        if not f"{_real_folder(Path(whole).parent)}{os.sep}".startswith(self._really):
            fix = "put its images into its folder, or import it again"
            raise InputError(f"{self.file} names the image file {shown(path)}, which is outside of its folders; {fix}")


def _beginnings(folders: Iterable[str]) -> tuple[str, ...]:
    """How the paths of files in some folders begin."""
    return tuple(folder.rstrip(os.sep) + os.sep for folder in folders)


@lru_cache(maxsize=1024)
def _real_folder(folder: Path) -> str:
    """A folder with the links on the way to it resolved."""
    return os.path.realpath(folder)
