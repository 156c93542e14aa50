"""Images inside Parquet files, read one at a time: fast in the order of the rows, slower in any other order."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from palate.core.errors import InputError
from palate.core.values import shown
from palate.records.images import Place

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

OPEN_AT_ONCE = 16  # columns of files; training reads a few files in turn, or a batch from many files
BATCH_BYTES = 2**26  # decoded at once; Arrow's binary columns end at 2 GiB
_LOCK = threading.Lock()
_READERS: OrderedDict[tuple[Path, str], _ColumnReader] = OrderedDict()


def read_place(place: Place) -> bytes | None:
    """The bytes at a place; None where the row has none.

    Raises:
        InputError: there is no such file, column, row or item.
    """
    key = place.file, place.column
    with _LOCK:  # the readers are shared, and each has a position in its file
        reader = _READERS.pop(key, None)
        if reader is None or reader.state != _state(place.file):  # a file may be replaced while it is open
            reader = _ColumnReader(*key)
        value = reader.value(place)
        _READERS[key] = reader
        while len(_READERS) > OPEN_AT_ONCE:
            _READERS.popitem(last=False)
    return value


def open_parquet(file: Path) -> pq.ParquetFile:
    """An open Parquet file, which is read a few pages at a time, however large its row groups are.

    Raises:
        InputError: it is not a Parquet file.
    """
    import pyarrow.parquet as pq

    with damage_named(file):
        return pq.ParquetFile(file, buffer_size=2**20, pre_buffer=False)


@contextmanager
def damage_named(file: Path) -> Iterator[None]:
    """Turns what pyarrow raises on a damaged file into an InputError that names it."""
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"{file} cannot be read as Parquet ({first}); download or write it again") from error


def rows_at_once(metadata: pq.FileMetaData, group: int, most: int) -> int:
    """How many rows of a row group to decode at a time, so that no column reaches Arrow's 2 GiB; `most` at most."""
    found = metadata.row_group(group)
    if found.total_byte_size >= 2**31:  # a few rows may contain most of these bytes
        return 1
    return int(np.clip(BATCH_BYTES * found.num_rows // max(found.total_byte_size, 1), 1, most))


def _state(file: Path) -> tuple[int, ...]:
    """What differs between a file and one that replaces it; empty where there is no file."""
    try:
        found = file.stat()
    except OSError:
        return ()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


class _ColumnReader:
    """Reads one column of one file in order; going back reads from the start of the row group again."""

    def __init__(self, file: Path, column: str) -> None:
        self.file, self.column, self.state = file, column, _state(file)
        self._parquet = open_parquet(file)
        with damage_named(file):
            names = self._parquet.schema_arrow.names
        if column not in names:
            raise InputError(f"{file} has no column {column!r} any more; import or start again")
        sizes = [self._parquet.metadata.row_group(group).num_rows for group in range(self._parquet.num_row_groups)]
        self._first_rows = np.concatenate([[0], np.cumsum(sizes)])
        self._batches: Iterator[pa.RecordBatch] = iter(())
        self._values: Any = ()
        self._start = self._stop = 0  # the range of rows of `_values`
        self._end = 0  # the end of the rows of `_batches`

    def value(self, place: Place) -> bytes | None:
        """The bytes at a place of this column; None where there are none."""
        if not 0 <= place.row < self._first_rows[-1]:
            raise InputError(f"{self.file} has no row {place.row} any more; import or start again")
        if not self._start <= place.row < self._stop:
            self._go_to(place.row)
        value = self._values[place.row - self._start].as_py()
        if place.item >= 0:
            value = value[place.item] if isinstance(value, list) and place.item < len(value) else None
        value = value.get("bytes") if isinstance(value, dict) else value
        if value is None or isinstance(value, bytes):
            return value
        raise InputError(f"{place} is no image, but {shown(value)}")

    def _go_to(self, row: int) -> None:
        if not self._stop <= row < self._end:
            group = int(np.searchsorted(self._first_rows, row, side="right")) - 1
            at_once = rows_at_once(self._parquet.metadata, group, 64)
            self._batches = self._parquet.iter_batches(at_once, row_groups=[group], columns=[self.column])
            self._start = self._stop = int(self._first_rows[group])
            self._end = int(self._first_rows[group + 1])
        while row >= self._stop:
            self._values = self._next_batch().column(0)
            self._start, self._stop = self._stop, self._stop + len(self._values)

    def _next_batch(self) -> pa.RecordBatch:
        with damage_named(self.file):
            return next(self._batches)
