"""Reads and writes safetensors files piece by piece, so that memory stays small whatever their size.

The format: the header's length (8 bytes), a JSON header with the dtype, shape and place of each tensor, then their
bytes in row-major order (https://github.com/huggingface/safetensors#format).
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from palate.core.errors import InputError
from palate.core.files import explain_os_errors
from palate.models.parts import check_weights

if TYPE_CHECKING:
    from torch import Tensor

BLOCK = 1 << 24
"""Bytes that are in memory at a time."""
DTYPES = {
    "float64": "F64",
    "float32": "F32",
    "float16": "F16",
    "bfloat16": "BF16",
    "float8_e4m3fn": "F8_E4M3",
    "float8_e5m2": "F8_E5M2",
    "int64": "I64",
    "int32": "I32",
    "int16": "I16",
    "int8": "I8",
    "uint8": "U8",
    "bool": "BOOL",
}
"""The format's names of torch's dtypes."""


@dataclass(frozen=True)
class StoredTensor:
    """A tensor whose bytes are read when they are written.

    Attributes:
        dtype: in the format's names, such as `F32`.
        shape: its axes.
        read: its bytes from one place to another, in row-major order.
    """

    dtype: str
    shape: tuple[int, ...]
    read: Callable[[int, int], Iterator[bytes]]
    size: int
    """Bytes."""

    def rows(self, start: int, stop: int) -> StoredTensor:
        """A part of the first axis."""
        row = self.size // self.shape[0]
        first, read = start * row, self.read
        shape = (stop - start, *self.shape[1:])
        return StoredTensor(self.dtype, shape, lambda a, b: read(first + a, first + b), (stop - start) * row)

    def reshaped(self, *shape: int) -> StoredTensor:
        """The same numbers with other axes."""
        return replace(self, shape=shape)

    def transposed(self) -> StoredTensor:
        """A matrix [n, m] as [m, n]; it is read whole."""
        rows, columns = self.shape
        read, size = self.read, self.size

        def turned(start: int, stop: int) -> Iterator[bytes]:
            import numpy as np

            items = np.frombuffer(b"".join(read(0, size)), dtype=f"V{size // (rows * columns)}")
            yield items.reshape(rows, columns).T.tobytes()[start:stop]

        return StoredTensor(self.dtype, (columns, rows), turned, size)

    def halves_swapped(self) -> StoredTensor:
        """The second half of the first axis, then the first."""
        half = self.shape[0] // 2
        return joined([self.rows(half, self.shape[0]), self.rows(0, half)])


def joined(tensors: Sequence[StoredTensor]) -> StoredTensor:
    """Tensors one after the other along their first axis; to be read from the beginning to the end."""
    if len(tensors) == 1:
        return tensors[0]
    first = tensors[0]

    def read(start: int, stop: int) -> Iterator[bytes]:
        for tensor in tensors:
            if start < tensor.size and stop > 0:
                yield from tensor.read(max(start, 0), min(stop, tensor.size))
            start, stop = start - tensor.size, stop - tensor.size

    shape = (sum(tensor.shape[0] for tensor in tensors), *first.shape[1:])
    return StoredTensor(first.dtype, shape, read, sum(tensor.size for tensor in tensors))


def tensors_of_file(file: Path) -> dict[str, StoredTensor]:
    """The tensors of a safetensors file by name.

    Raises:
        InputError: it is not a readable safetensors file, or it is truncated.
    """
    entries = check_weights(file)
    with file.open("rb") as stream:
        begin = 8 + struct.unpack("<Q", stream.read(8))[0]
    return {name: _of_file(file, begin, entry) for name, entry in entries.items()}


def tensors_of_part(files: Sequence[Path]) -> dict[str, StoredTensor]:
    """The tensors of all shards of a part."""
    return {name: tensor for file in files for name, tensor in tensors_of_file(file).items()}


def in_memory(tensor: Tensor) -> StoredTensor:
    """A tensor of torch, on any device."""
    dtype = DTYPES[str(tensor.dtype).removeprefix("torch.")]

    def read(start: int, stop: int) -> Iterator[bytes]:
        import torch

        flat = tensor.detach().cpu().contiguous().flatten().view(torch.uint8)
        for begin in range(start, stop, BLOCK):
            yield flat[begin : min(begin + BLOCK, stop)].numpy().tobytes()

    return StoredTensor(dtype, tuple(tensor.shape), read, tensor.numel() * tensor.element_size())


def write_tensors(file: Path, tensors: Mapping[str, StoredTensor], metadata: Mapping[str, str]) -> None:
    """Writes a safetensors file, the tensors in their order, with at most `BLOCK` bytes in memory.

    Raises:
        PalateError: the disk is full, and the like.
    """
    header: dict[str, object] = {"__metadata__": dict(metadata)}
    end = 0
    for name, tensor in tensors.items():
        header[name] = {"dtype": tensor.dtype, "shape": tensor.shape, "data_offsets": [end, end + tensor.size]}
        end += tensor.size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the tensors begin at a multiple of 8 bytes
    with explain_os_errors(f"write {file}"), file.open("wb") as stream:
        stream.write(struct.pack("<Q", len(text)) + text)
        for tensor in tensors.values():
            for block in tensor.read(0, tensor.size):
                stream.write(block)


def file_metadata(file: Path) -> dict[str, str]:
    """The entries of text in a safetensors file's header; empty where there are none.

    Raises:
        InputError: the file cannot be read.
    """
    try:
        with file.open("rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            found = json.loads(stream.read(length)).get("__metadata__", {})
    except (OSError, ValueError, struct.error, AttributeError, MemoryError, OverflowError) as error:
        raise InputError(f"{file} is not a readable safetensors file ({error}); fetch it again") from error
    return found if isinstance(found, dict) else {}


def _of_file(file: Path, begin: int, entry: Mapping[str, object]) -> StoredTensor:
    offsets: Sequence[int] = entry["data_offsets"]  # type: ignore[assignment]
    shape: Sequence[int] = entry["shape"]  # type: ignore[assignment]
    place = begin + offsets[0]

    def read(start: int, stop: int) -> Iterator[bytes]:
        with file.open("rb") as stream:
            stream.seek(place + start)
            while start < stop:
                block = stream.read(min(BLOCK, stop - start))
                if not block:
                    raise InputError(f"{file} ends before its last tensor; fetch it again")
                start += len(block)
                yield block

    return StoredTensor(str(entry["dtype"]), tuple(shape), read, offsets[1] - offsets[0])
