"""Rows of tensors that are computed once and kept on disk for all runs on the same data and model.

A cache is one safetensors file of N rows. Rows may be filled in any order, by several processes that share the disk,
and what an interrupted run has filled stays filled. Other tools read it with `safetensors.safe_open`. Rows of unequal
length (`Ragged`) are appended to a file beside it; the cache has where each one begins and how long it is.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from palate.core.cache_folder import default_root, digest, require_space
from palate.core.errors import PalateError
from palate.core.files import explain_os_errors
from palate.core.progress import Bar
from palate.models.conditioning import Ragged
from palate.training.row_file import DTYPES, NAMES, Field, RowFile, read_at, write_at

try:
    import fcntl
except ImportError:
    fcntl = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from accelerate import Accelerator

__all__ = ["Compute", "RowCache", "cached_rows", "default_root", "digest", "fill_rows", "open_rows"]

FILLED, START, LENGTH = "filled", "start of ", "length of "
Values = Mapping[str, "Tensor | Ragged"]
Compute = Callable[[np.ndarray], Values]


class RowCache:
    """N rows of named tensors, some of them filled, in an existing file.

    Raises:
        InputError: the file is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path, self._file = path, RowFile(path)
        self._ragged = {
            name: Field(tuple(shape), DTYPES[dtype])
            for name, (dtype, shape) in json.loads(self._file.notes.get("ragged", "{}")).items()
        }

    @classmethod
    def create(cls, path: Path, rows: int, values: Values) -> RowCache:
        """A new cache of N empty rows, with the names, shapes and dtypes of some values [B, ...].

        Raises:
            PalateError: the disk is full or the folder is not writable.
        """
        fields, ragged = {FILLED: Field((), torch.uint8)}, {}
        for name, value in values.items():
            if isinstance(value, Ragged):
                ragged[name] = (NAMES[value.values.dtype], list(value.values.shape[1:]))
                fields |= {START + name: Field((), torch.int64), LENGTH + name: Field((), torch.int64)}
            else:
                fields[name] = Field(tuple(value.shape[1:]), value.dtype)
        RowFile.create(path, rows, fields, {"ragged": json.dumps(ragged)} if ragged else {})
        return cls(path)

    def __len__(self) -> int:
        return self._file.rows

    @property
    def dense(self) -> dict[str, Field]:
        """The shape and dtype of a row of each tensor, except those with rows of unequal length."""
        own = (FILLED, *(mark + name for mark in (START, LENGTH) for name in self._ragged))
        return {name: field for name, field in self._file.fields.items() if name not in own}

    def read(self, rows: np.ndarray) -> dict[str, Tensor | Ragged]:
        """Rows [R] by their numbers: every tensor [R, ...] by its name."""
        found: dict[str, Tensor | Ragged] = {name: self._file.read(name, rows) for name in self.dense}
        return found | {name: self._read_ragged(name, rows) for name in self._ragged}

    def missing(self, rows: np.ndarray) -> np.ndarray:
        """Which of some rows [R] are not filled yet."""
        return rows[~self._filled()[rows]]

    def write(self, rows: np.ndarray, values: Values) -> None:
        """Fills rows [B] with a value [B, ...] of each tensor.

        Raises:
            PalateError: the disk is full; then the rows are not marked as filled.
        """
        for name, value in values.items():
            if isinstance(value, Ragged):
                self._append(name, rows, value)
            else:
                self._file.write(name, rows, value)
        self._file.write(FILLED, rows, torch.ones(len(rows)))  # last: a marked row is complete, even after a crash

    def needs(self, wanted: np.ndarray) -> int:
        """About how many more bytes the cache will take once some wanted rows [W] are filled."""
        filled = self._filled()
        row = float(sum(field.size for field in self._file.fields.values()))
        if filled.any():
            for name, field in self._ragged.items():
                row += field.size * float(self._file.read(LENGTH + name, np.flatnonzero(filled)).float().mean())
        return round(row * int((~filled[wanted]).sum()))

    def _filled(self) -> np.ndarray:
        """Whether each row is filled [N], bool."""
        return self._file.read(FILLED, np.arange(len(self))).numpy() > 0

    def _append(self, name: str, rows: np.ndarray, value: Ragged) -> None:
        """Writes the rows at the end of the file of values; one process at a time."""
        field = self._ragged[name]
        with explain_os_errors(f"write the cache {self._beside(name)}"):
            file = os.open(self._beside(name), os.O_RDWR | os.O_CREAT, 0o666)
            try:
                if fcntl:
                    fcntl.flock(file, fcntl.LOCK_EX)
                first = -(-os.fstat(file).st_size // field.size)  # a killed process may have left half an element
                write_at(file, field.data(torch.cat(value.rows())), first * field.size)
            finally:
                os.close(file)
        self._file.write(START + name, rows, first + value.length.cumsum(0) - value.length)
        self._file.write(LENGTH + name, rows, value.length)

    def _read_ragged(self, name: str, rows: np.ndarray) -> Ragged:
        start, length = (self._file.read(mark + name, rows) for mark in (START, LENGTH))
        field, end = self._ragged[name], 0
        total = int(length.sum())
        data = np.empty(total * field.size, np.uint8)
        with explain_os_errors(f"read the cache {self._beside(name)}"), self._beside(name).open("rb", 0) as file:
            for first, count in zip(start.tolist(), length.tolist()):
                begin, end = end, end + count * field.size
                read_at(file.fileno(), data[begin:end], first * field.size)
        return Ragged(field.tensor(data, total), length.cumsum(0) - length, length)

    def _beside(self, name: str) -> Path:
        return self.path.with_name(f"{self.path.stem}.{name}.values")


def cached_rows(
    path: Path,
    rows: int,
    compute: Compute,
    batch: int,
    progress: Bar,
    accelerator: Accelerator,
    wanted: np.ndarray | None = None,
    fix: str = "free some, or name another folder with --cache",
) -> RowCache:
    """The cache at `path` with all wanted rows; missing ones are computed now, and each process computes its share.

    Args:
        path: the file; its name must identify what the rows were computed from, see `digest`.
        rows: N.
        compute: gives the values [B, ...] of rows [B], by name.
        batch: rows computed at once.
        progress: counts every wanted row, including those found in the cache.
        accelerator: the processes.
        wanted: numbers of the wanted rows [W], in the order in which they are computed fastest; all rows when left out.
        fix: what the user can do if the disk is too small.

    Raises:
        PalateError: the disk is too small for the rows, raised before it is full; or see `fill_rows`.
    """
    wanted = np.arange(rows) if wanted is None else wanted
    cache = open_rows(path, rows, compute, wanted[:batch], accelerator)
    require_space(path.parent, cache.needs(wanted), f"{len(wanted)} rows of {path.name}", fix)
    return fill_rows(cache, compute, batch, progress, accelerator, wanted)


def open_rows(path: Path, rows: int, compute: Compute, first: np.ndarray, accelerator: Accelerator) -> RowCache:
    """The cache at `path`; if it does not exist, it is created with its first rows.

    Args:
        path, rows, compute, accelerator: see `cached_rows`.
        first: the rows [B] that are computed if there is no cache yet.
    """
    with accelerator.main_process_first():
        if not path.exists():
            values = compute(first)
            RowCache.create(path, rows, values).write(first, values)
        return RowCache(path)


def fill_rows(
    cache: RowCache,
    compute: Compute,
    batch: int,
    progress: Bar,
    accelerator: Accelerator,
    wanted: np.ndarray,
) -> RowCache:
    """The cache with all wanted rows; each process computes its share of the missing ones, in the given order.

    Args:
        cache: see `open_rows`.
        compute, batch, progress, accelerator, wanted: see `cached_rows`.

    Raises:
        PalateError: the disk is full, or the processes do not share it, so that rows computed by others are missing.
    """
    share = np.array_split(wanted, accelerator.num_processes)[accelerator.process_index]
    mine = cache.missing(share)
    progress.advance(len(wanted) - len(mine))
    for start in range(0, len(mine), batch):
        chunk = mine[start : start + batch]
        cache.write(chunk, compute(chunk))
        progress.advance(len(chunk))
    accelerator.wait_for_everyone()
    cache = RowCache(cache.path)  # opened again, so that a network file system shows what others have written
    _require_whole(cache, wanted, accelerator)
    return cache


def _require_whole(cache: RowCache, wanted: np.ndarray, accelerator: Accelerator) -> None:
    """Raises PalateError in every process if rows are missing in one of them."""
    lacking = torch.tensor(float(len(cache.missing(wanted))), device=accelerator.device)
    total = int(torch.as_tensor(accelerator.reduce(lacking, "max")))
    if total:
        fix = "give --cache a folder on a disk that all machines share"
        raise PalateError(
            f"{total} of the {len(wanted)} rows of the cache {cache.path} are missing after every process has computed "
            f"its share, so the processes do not see one disk; {fix}"
        )
