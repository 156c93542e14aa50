"""Images in columns: arrays with the digest, size and place of each image, and the numbering of repeated values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from palate.records.images import Facts, Place, StoredImage


@dataclass(frozen=True, eq=False)
class Images:
    """I distinct images, each read only when it is used.

    Attributes:
        digest: SHA-256 of the encoded bytes [I, 32], uint8.
        size: width and height in pixels [I, 2].
        files: the files that contain the images: Parquet files or image files.
        file: the index in `files` of each image's file [I]; -1 where the image is in memory.
        row: the row in the Parquet file [I]; -1 for an image file; for an image in memory, the index in `memory`.
        columns: names of columns.
        column: the index in `columns` of each image's column [I].
        item: the index in the list of that row [I], -1 where the column has no lists.
        memory: the images whose bytes are in memory.
    """

    digest: np.ndarray
    size: np.ndarray
    files: Sequence[str]
    file: np.ndarray
    row: np.ndarray
    columns: Sequence[str]
    column: np.ndarray
    item: np.ndarray
    memory: Sequence[StoredImage] = ()

    @classmethod
    def of(cls, images: Sequence[StoredImage]) -> Images:
        """Records of images as columns."""
        digest = np.frombuffer(b"".join(bytes.fromhex(image.digest()) for image in images), np.uint8).reshape(-1, 32)
        size = np.array([image.facts[1:] if image.facts else (0, 0) for image in images]).reshape(-1, 2)
        nowhere = np.full(len(images), -1)
        row = np.arange(len(images))
        return cls(digest, size, (), nowhere, row, (), nowhere, nowhere, tuple(images))

    def __len__(self) -> int:
        return len(self.digest)

    def __getitem__(self, number: int) -> StoredImage:
        if self.file[number] < 0:
            return self.memory[int(self.row[number])]
        path, row = Path(self.files[int(self.file[number])]), int(self.row[number])
        facts = Facts(self.digest[number].tobytes().hex(), *self.size[number].tolist())
        if row < 0:
            return StoredImage(path=path, facts=facts)
        column = self.columns[int(self.column[number])]
        return StoredImage(place=Place(path, row, column, int(self.item[number])), facts=facts)

    def take(self, numbers: np.ndarray) -> Images:
        """The images with these indices, in the given order."""
        arrays = ("digest", "size", "file", "row", "column", "item")
        return replace(self, **{name: getattr(self, name)[numbers] for name in arrays})

    def in_file_order(self) -> np.ndarray:
        """The indices of the images [I] in the order in which reading them is fastest."""
        return np.lexsort((self.item, self.row, self.column, self.file))

    def joined(self, other: Images) -> tuple[Images, np.ndarray]:
        """The distinct images of both, and the index among them of each image of the other [J]."""
        memory, files, columns = (
            [*getattr(self, name), *getattr(other, name)] for name in ("memory", "files", "columns")
        )
        in_memory = other.file < 0
        shifted = {
            "digest": other.digest,
            "size": other.size,
            "file": np.where(in_memory, -1, other.file + len(self.files)),
            "row": np.where(in_memory, other.row + len(self.memory), other.row),
            "column": np.where(in_memory, -1, other.column + len(self.columns)),
            "item": other.item,
        }
        arrays = {name: np.concatenate([getattr(self, name), value]) for name, value in shifted.items()}
        both = Images(**arrays, files=files, columns=columns, memory=memory)
        number, first = first_seen(both.digest)
        return both.take(first), number[len(self) :]


def first_seen(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Numbers the distinct values in the order of their first occurrence.

    Args:
        values: [N] numbers, or [N, k] bytes.

    Returns:
        The number of each value [N], the same for equal values; and the index of the first occurrence of each number
        [D].

    >>> first_seen(np.array([7, 3, 7]))[0].tolist()
    [0, 1, 0]
    """
    if values.ndim == 2:
        values = _number_bytes(values)
    _, first, inverse = np.unique(values, return_index=True, return_inverse=True)
    order = np.argsort(first)
    number = np.empty(len(order), int)
    number[order] = np.arange(len(order))
    return number[inverse.ravel()], first[order]


def numbered(texts: Sequence[str]) -> tuple[list[str], np.ndarray]:
    """The distinct texts in the order of their first occurrence, and the index among them of each text [N]."""
    number = {text: place for place, text in enumerate(dict.fromkeys(texts))}
    return list(number), np.array([number[text] for text in texts], int)


def _number_bytes(values: np.ndarray) -> np.ndarray:
    """A number for each row of bytes [N, k], the same for equal rows."""
    import pyarrow as pa

    kind, buffer = pa.binary(values.shape[1]), pa.py_buffer(np.ascontiguousarray(values))
    return (
        pa.FixedSizeBinaryArray.from_buffers(kind, len(values), [None, buffer]).dictionary_encode().indices.to_numpy()
    )
