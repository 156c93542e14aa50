"""Rows of tensors that are computed once, kept on disk and mapped into memory.

A cache is one safetensors file of N rows. Rows may be filled in any order, by several processes of one machine, and
what an interrupted run has filled stays filled. Other tools read it with `safetensors.safe_open`.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from palate.core.errors import InputError
from palate.core.files import explain_os_errors, partial_name
from palate.core.progress import Bar

if TYPE_CHECKING:
    from accelerate import Accelerator

FILLED = "filled"
NAMES = {torch.float32: "F32", torch.bfloat16: "BF16", torch.uint8: "U8"}  # safetensors' names for dtypes


class Field(NamedTuple):
    """One tensor of a cache: `rows` x `shape` of `dtype`."""

    shape: tuple[int, ...]
    dtype: torch.dtype = torch.float32


class RowCache:
    """N rows of named tensors in a memory-mapped file that exists.

    Raises:
        InputError: the file is damaged.
    """

    def __init__(self, path: Path) -> None:
        try:
            with path.open("rb") as file:
                start = 8 + int.from_bytes(file.read(8), "little")
                entries = json.loads(file.read(start - 8))
            data = torch.from_file(str(path), shared=True, size=path.stat().st_size, dtype=torch.uint8)[start:]
            self._tensors = {name: _view(data, entry) for name, entry in entries.items()}
            self._filled = self._tensors.pop(FILLED)
        except (ValueError, KeyError, RuntimeError, OverflowError, MemoryError) as error:
            raise InputError(f"the cache {path} is damaged ({error}); delete it, and it is made again") from error

    @classmethod
    def create(cls, path: Path, rows: int, fields: Mapping[str, Field]) -> RowCache:
        """A new cache of N empty rows.

        Raises:
            PalateError: the disk is full or the folder may not be written to.
        """
        header, size = _layout(rows, {**fields, FILLED: Field((), torch.uint8)})
        partial = partial_name(path)
        with explain_os_errors(f"write the cache {path}"):
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                _allocate(partial, header, size)
                partial.replace(path)
            except BaseException:
                partial.unlink(missing_ok=True)
                raise
        return cls(path)

    def __getitem__(self, name: str) -> Tensor:
        """A tensor [N, ...], mapped from the file."""
        return self._tensors[name]

    def tensors(self) -> dict[str, Tensor]:
        """Every tensor of a row by name, mapped from the file."""
        return dict(self._tensors)

    def missing(self) -> Tensor:
        """The rows [M] not filled yet."""
        return (self._filled == 0).nonzero().flatten()

    def write(self, rows: Tensor, values: Mapping[str, Tensor]) -> None:
        """Fills rows [B] with a value [B, ...] of each tensor."""
        for name, value in values.items():
            self._tensors[name][rows] = value.to("cpu", self._tensors[name].dtype)
        self._filled[rows] = 1  # last: a row that is marked is whole, even if the process dies here


def cached_rows(
    path: Path,
    rows: int,
    compute: Callable[[Tensor], Mapping[str, Tensor]],
    batch: int,
    progress: Bar,
    accelerator: Accelerator,
    wanted: Tensor | None = None,
) -> RowCache:
    """The cache at `path`, with whatever wanted rows it lacks computed now; each process computes its share.

    Args:
        path: the file; its name must say what the rows are of, see `digest`.
        rows: N.
        compute: the values [B, ...] by name of some rows [B].
        batch: rows computed at once.
        progress: is told of every wanted row, those found in the cache included.
        accelerator: tells the processes apart.
        wanted: numbers of the rows that must be there [W]; all of them when left out.
    """
    wanted = torch.arange(rows) if wanted is None else wanted
    with accelerator.main_process_first():
        if not path.exists():
            first = compute(wanted[:batch])
            fields = {name: Field(tuple(value.shape[1:]), value.dtype) for name, value in first.items()}
            RowCache.create(path, rows, fields).write(wanted[:batch], first)
        cache = RowCache(path)
    missing = wanted[torch.isin(wanted, cache.missing())]
    mine = missing[missing % accelerator.num_processes == accelerator.process_index]
    progress.advance(len(wanted) - len(mine))
    for chunk in mine.split(batch) if len(mine) else ():
        cache.write(chunk, compute(chunk))
        progress.advance(len(chunk))
    accelerator.wait_for_everyone()
    return cache


def digest(*parts: object) -> str:
    """A short name for what a cache is of: equal parts, equal name."""
    return hashlib.blake2b(json.dumps(parts, default=str).encode(), digest_size=12).hexdigest()


def default_root() -> Path:
    """`$PALATE_CACHE`, or `palate` in the user's cache folder."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("PALATE_CACHE") or Path(home) / "palate").expanduser()


def _layout(rows: int, fields: Mapping[str, Field]) -> tuple[bytes, int]:
    """The header of a safetensors file and the length of the whole.

    Wide dtypes first: safetensors allows no holes, and so every tensor is still aligned to its elements.
    """
    entries, end = {}, 0
    for name, field in sorted(fields.items(), key=lambda item: -item[1].dtype.itemsize):
        start, end = end, end + rows * torch.Size(field.shape).numel() * field.dtype.itemsize
        shape = [rows, *field.shape]
        entries[name] = {"dtype": NAMES[field.dtype], "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(entries).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text, 8 + len(text) + end


def _view(data: Tensor, entry: Mapping[str, Any]) -> Tensor:
    start, end = entry["data_offsets"]
    dtype = next(dtype for dtype, name in NAMES.items() if name == entry["dtype"])
    return data[start:end].view(dtype).view(entry["shape"])


def _allocate(path: Path, header: bytes, size: int) -> None:
    """A file of zeros behind the header, with its blocks taken: a full disk shows here, not as a crash in a write."""
    with path.open("wb") as file:
        file.write(header)
        file.truncate(size)
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)
