"""The network's inputs other than the noisy latents and the time: named tensors, with one row per image."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

EMBEDDINGS, MASK = "embeddings", "mask"
"""The names that every family uses for the embeddings of its tokens and, if it has one, their mask."""


@dataclass(frozen=True, eq=False)
class Ragged:
    """B rows of unequal length: row b is `values[start[b] : start[b] + length[b]]`.

    The rows may be in any order and have gaps between them, so that a file to which rows were appended in the order of
    their computation can be used without a copy.

    Attributes:
        values: the elements of all rows, one after the other [T, ...].
        start: the place of the first element of each row [B], int64 on the CPU.
        length: the number of elements of each row [B], int64 on the CPU.
    """

    values: Tensor
    start: Tensor
    length: Tensor

    @classmethod
    def of(cls, rows: Sequence[Tensor]) -> Ragged:
        """Joins rows [n_b, ...], at least one, by copying them one after the other."""
        length = torch.tensor([len(row) for row in rows])
        return cls(torch.cat(list(rows)), length.cumsum(0) - length, length)

    def __len__(self) -> int:
        return len(self.length)

    def __getitem__(self, index: Any) -> Ragged:
        """Some rows, by a slice, an index tensor [N] or a mask [B], copied without gaps."""
        index = index.cpu() if isinstance(index, Tensor) else index
        return Ragged.of(Ragged(self.values, self.start[index], self.length[index]).rows())

    def rows(self) -> list[Tensor]:
        """The rows [n_b, ...] as views, without a copy, for networks that read unpadded prompts."""
        return [self.values[s : s + n] for s, n in zip(self.start.tolist(), self.length.tolist())]

    def padded(self, length: int | None = None, side: str = "right") -> Tensor:
        """The rows as one tensor [B, L, ...], filled up with zeros.

        Args:
            length: L; the length of the longest row when left out.
            side: `right` or `left`: the side of the zeros.

        Raises:
            ValueError: a row is longer than `length`.
        """
        mask = self.mask(length, side)
        padded = self.values.new_zeros(*mask.shape, *self.values.shape[1:])
        padded[mask] = torch.cat(self.rows())
        return padded

    def mask(self, length: int | None = None, side: str = "right") -> Tensor:
        """Where `padded` has an element of a row and not a filled-up zero [B, L], bool, on the device of the values."""
        longest = int(self.length.max())
        length = longest if length is None else length
        if longest > length:
            raise ValueError(f"a row of {longest} elements does not fit into {length}")
        place, count = torch.arange(length), self.length[:, None]
        mask = place < count if side == "right" else place >= length - count
        return mask.to(self.values.device)

    def map(self, change: Callable[[Tensor], Tensor]) -> Ragged:
        """The same rows with changed values, such as on another device or of another dtype."""
        return Ragged(change(self.values), self.start, self.length)


@dataclass(frozen=True, eq=False)
class Conditioning:
    """Named tensors of B rows; the model family that made them reads them by the same names.

    Attributes:
        tensors: by name, each [B, ...], or `Ragged` where rows have different lengths. In every family `embeddings` are
            those of the prompt's tokens [B, L, D], and `mask` [B, L] says which tokens are not padding; the other names
            (pooled, time_ids, ...) are specific to the family. Empty if the network takes no such input.
    """

    tensors: Mapping[str, Tensor | Ragged] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(next(iter(self.tensors.values()), ()))

    def __getitem__(self, rows: Any) -> Conditioning:
        """The conditioning of some rows: a slice, an index tensor [N] or a mask [B]."""
        return Conditioning({name: value[rows] for name, value in self.tensors.items()})

    def dense(self, name: str) -> Tensor:
        """The tensor [B, ...] of a name.

        Raises:
            KeyError: there is no such name.
            TypeError: its rows have different lengths.
        """
        value = self.tensors[name]
        if isinstance(value, Ragged):
            raise TypeError(f"the rows of {name!r} have different lengths; use `ragged({name!r})`, padded or as a list")
        return value

    def ragged(self, name: str) -> Ragged:
        """The rows of a name whose rows have different lengths.

        Raises:
            KeyError: there is no such name.
            TypeError: it is one tensor.
        """
        value = self.tensors[name]
        if not isinstance(value, Ragged):
            raise TypeError(f"{name!r} is one tensor, not rows of different lengths; use `dense({name!r})`")
        return value

    def map(self, change: Callable[[Tensor], Tensor]) -> Conditioning:
        """The same rows with a function applied to every tensor, such as a copy to a device."""
        changed = {name: v.map(change) if isinstance(v, Ragged) else change(v) for name, v in self.tensors.items()}
        return Conditioning(changed)

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Conditioning:
        """Moves every tensor and casts those of floating-point numbers; ids and masks keep their dtype."""
        return self.map(lambda tensor: tensor.to(device, dtype if tensor.is_floating_point() else tensor.dtype))

    def merged(self, other: Conditioning) -> Conditioning:
        """The tensors of both, such as those of prompts and those of images, with the same number of rows."""
        return Conditioning({**self.tensors, **other.tensors})

    @staticmethod
    def cat(parts: Sequence[Conditioning]) -> Conditioning:
        """Joins the rows of several parts; their names and shapes must be equal, except for the number of rows."""
        return Conditioning({name: _cat([part.tensors[name] for part in parts]) for name in parts[0].tensors})

    def prompt_vector(self) -> Tensor:
        """One vector per prompt in any family [B, D], float32: the mean over the tokens that are not padding."""
        embeddings = self.tensors[EMBEDDINGS]
        if isinstance(embeddings, Ragged):
            return torch.stack([row.float().mean(0) for row in embeddings.rows()])
        if MASK not in self.tensors:
            return embeddings.float().mean(1)
        weight = self.dense(MASK).to(torch.float32)[:, :, None]  # [B, L, 1]
        return (weight * embeddings.float()).sum(1) / weight.sum(1).clamp(min=1)


def _cat(parts: Sequence[Tensor | Ragged]) -> Tensor | Ragged:
    ragged = [part for part in parts if isinstance(part, Ragged)]
    if ragged:
        return Ragged.of([row for part in ragged for row in part.rows()])
    return torch.cat([part for part in parts if isinstance(part, Tensor)])
