"""Images in columns: a few arrays that say what each is and where, and the numbering of what repeats."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from palate.records.images import Facts, Place, StoredImage


@dataclass(frozen=True, eq=False)
class Images:
    """I images that differ, each read when it is looked at.

    Attributes:
        digest: SHA-256 of the encoded bytes [I, 32], uint8.
        size: width and height in pixels [I, 2].
        files: what the images are in: Parquet files, or the images' own.
        file: the number of each one's file [I]; -1 where it is in memory.
        row: its row in the file [I], -1 where the file is the image; in memory, its number in `memory`.
        columns: names of columns.
        column: the number of each one's column [I].
        item: its number in the list of that row [I], -1 where there is no list.
        memory: images that have their bytes with them.
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
        """Images in memory, or wherever they are."""
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
        """Some of the images, in the order of their numbers."""
        arrays = ("digest", "size", "file", "row", "column", "item")
        return replace(self, **{name: getattr(self, name)[numbers] for name in arrays})

    def in_file_order(self) -> np.ndarray:
        """The numbers of the images [I] in the order in which they are read fastest."""
        return np.lexsort((self.item, self.row, self.column, self.file))

    def joined(self, other: Images) -> tuple[Images, np.ndarray]:
        """The images of both, and the number in it of each image of the other [J]; an image of both is there once."""
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
    """Numbers values in the order in which they first come.

    Args:
        values: [N] numbers, or [N, k] bytes.

    Returns:
        The number of each [N], equal where values are; and where each number first came [D].

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
    """The texts, each once and as they first come; and the number of each one's [N]."""
    number = {text: place for place, text in enumerate(dict.fromkeys(texts))}
    return list(number), np.array([number[text] for text in texts], int)


def _number_bytes(values: np.ndarray) -> np.ndarray:
    """A number for each row of bytes [N, k], equal where rows are."""
    import pyarrow as pa

    kind, buffer = pa.binary(values.shape[1]), pa.py_buffer(np.ascontiguousarray(values))
    return (
        pa.FixedSizeBinaryArray.from_buffers(kind, len(values), [None, buffer]).dictionary_encode().indices.to_numpy()
    )
