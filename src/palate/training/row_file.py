"""A safetensors file of N rows that can be read and written separately; unwritten rows take no disk space."""

from __future__ import annotations

import errno
import json
import os
import weakref
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from palate.core.errors import InputError
from palate.core.files import explain_os_errors, partial_name

NAMES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
"""Names of dtypes in safetensors."""
DTYPES = {name: dtype for dtype, name in NAMES.items()}


class Field(NamedTuple):
    """The shape and dtype of each row of a tensor."""

    shape: tuple[int, ...]
    dtype: torch.dtype = torch.float32

    @property
    def size(self) -> int:
        """Bytes per row."""
        return torch.Size(self.shape).numel() * self.dtype.itemsize

    def tensor(self, data: np.ndarray, count: int) -> Tensor:
        """The tensor [count, ...] that some bytes encode."""
        if not len(data):  # numpy gives an empty array a stride that torch does not view as another dtype
            return torch.empty(count, *self.shape, dtype=self.dtype)
        return torch.from_numpy(data).view(self.dtype).view(count, *self.shape)

    def data(self, values: Tensor) -> np.ndarray:
        """The bytes of a tensor [count, ...]."""
        return values.detach().to("cpu", self.dtype).contiguous().view(-1).view(torch.uint8).numpy()


class RowFile:
    """N rows of named tensors in an existing file.

    Rows are read and written by position and not through a memory map: the process holds in memory only the rows that
    it reads, and a full disk raises an error instead of killing the process with a signal.

    Args:
        path: the file.

    Attributes:
        rows: N.
        fields: the shape and dtype of a row of each tensor, by name.
        notes: other entries of the header, by key.

    Raises:
        InputError: the file is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with explain_os_errors(f"open the cache {path}"):
                self._file = os.open(path, os.O_RDWR)
                weakref.finalize(self, os.close, self._file)
            begin = 8 + int.from_bytes(os.pread(self._file, 8, 0), "little")
            entries: dict[str, Any] = json.loads(os.pread(self._file, begin - 8, 8))
            self.notes: dict[str, str] = entries.pop("__metadata__", {})
            self.rows: int = next(iter(entries.values()))["shape"][0]
            self.fields = {name: Field(tuple(e["shape"][1:]), DTYPES[e["dtype"]]) for name, e in entries.items()}
            self._starts = {name: begin + entry["data_offsets"][0] for name, entry in entries.items()}
            end = begin + max(entry["data_offsets"][1] for entry in entries.values())
            if os.fstat(self._file).st_size != end:
                raise ValueError(f"{os.fstat(self._file).st_size} bytes instead of {end}")
        except (ValueError, KeyError, TypeError, IndexError, StopIteration, OverflowError, MemoryError) as error:
            raise InputError(f"the cache {path} is damaged ({error}); delete it, and it is made again") from error

    @classmethod
    def create(cls, path: Path, rows: int, fields: Mapping[str, Field], notes: Mapping[str, str]) -> RowFile:
        """A new file of N rows of zeros, which take no disk space if the file system supports sparse files.

        Raises:
            PalateError: the disk is full or the folder is not writable.
        """
        header, size = _layout(rows, fields, notes)
        partial = partial_name(path)
        with explain_os_errors(f"write the cache {path}"):
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                with partial.open("wb") as file:
                    file.write(header)
                    file.truncate(size)
                partial.replace(path)
            finally:
                partial.unlink(missing_ok=True)
        return cls(path)

    def read(self, name: str, rows: np.ndarray) -> Tensor:
        """Rows [R] of a tensor by their numbers: values [R, ...]."""
        field = self.fields[name]
        data = np.empty(len(rows) * field.size, np.uint8)
        with explain_os_errors(f"read the cache {self.path}"):
            for place, row, count in _runs(rows):
                read_at(
                    self._file, data[place * field.size :][: count * field.size], self._starts[name] + row * field.size
                )
        return field.tensor(data, len(rows))

    def write(self, name: str, rows: np.ndarray, values: Tensor) -> None:
        """Writes rows [R] of a tensor: values [R, ...].

        Raises:
            PalateError: the disk is full.
        """
        field = self.fields[name]
        data = field.data(values)
        with explain_os_errors(f"write the cache {self.path}"):
            for place, row, count in _runs(rows):
                span = data[place * field.size :][: count * field.size]
                write_at(self._file, span, self._starts[name] + row * field.size)


def read_at(file: int, data: np.ndarray, offset: int) -> None:
    """Reads as many bytes as fit in `data` from a position of an open file."""
    memory: Any = data
    if len(data) and os.preadv(file, [memory], offset) != len(data):
        raise OSError(errno.EIO, "the file ends too early")


def write_at(file: int, data: np.ndarray, offset: int) -> None:
    """Writes all bytes of `data` at a position of an open file."""
    while len(data):
        memory: Any = data
        written = os.pwrite(file, memory, offset)
        data, offset = data[written:], offset + written


def _runs(rows: np.ndarray) -> Iterator[tuple[int, int, int]]:
    """Splits rows [R] into runs of consecutive numbers.

    Yields:
        The place of a run's first row in `rows`, its number, and the length of the run.
    """
    edges = [0, *(np.flatnonzero(np.diff(rows) != 1) + 1).tolist(), len(rows)]
    numbers = rows.tolist()
    for start, stop in pairwise(edges):
        if stop > start:
            yield start, numbers[start], stop - start


def _layout(rows: int, fields: Mapping[str, Field], notes: Mapping[str, str]) -> tuple[bytes, int]:
    """The header of a safetensors file, and the length of the whole file.

    Wide dtypes come first: safetensors allows no gaps between tensors, and in this order each tensor is aligned.
    """
    entries: dict[str, Any] = {"__metadata__": dict(notes)} if notes else {}
    end = 0
    for name, field in sorted(fields.items(), key=lambda item: -item[1].dtype.itemsize):
        start, end = end, end + rows * field.size
        entries[name] = {"dtype": NAMES[field.dtype], "shape": [rows, *field.shape], "data_offsets": [start, end]}
    text = json.dumps(entries).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text, 8 + len(text) + end
