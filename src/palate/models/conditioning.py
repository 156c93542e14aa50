"""What a network is given besides the noisy latents and the time: named tensors, one row an image."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

EMBEDDINGS, MASK = "embeddings", "mask"
"""The names that every family uses for its tokens' embeddings and, where it has one, their mask."""


@dataclass(frozen=True, eq=False)
class Ragged:
    """B rows of unequal length: row b is `values[start[b] : start[b] + length[b]]`.

    The rows may stand in any order and with gaps, so that a file to which rows were appended as they were computed is
    one of these without a copy.

    Attributes:
        values: the elements of all rows, one after the other [T, ...].
        start: where each row begins [B], int64 on the CPU.
        length: how many elements each row has [B], int64 on the CPU.
    """

    values: Tensor
    start: Tensor
    length: Tensor

    @classmethod
    def of(cls, rows: Sequence[Tensor]) -> Ragged:
        """The rows [n_b, ...], copied one after the other; at least one."""
        length = torch.tensor([len(row) for row in rows])
        return cls(torch.cat(list(rows)), length.cumsum(0) - length, length)

    def __len__(self) -> int:
        return len(self.length)

    def __getitem__(self, index: Any) -> Ragged:
        """Some rows, by a slice, an index tensor [N] or a mask [B], copied without gaps."""
        index = index.cpu() if isinstance(index, Tensor) else index
        return Ragged.of(Ragged(self.values, self.start[index], self.length[index]).rows())

    def rows(self) -> list[Tensor]:
        """Each row [n_b, ...], without a copy: what a network takes that reads unpadded prompts."""
        return [self.values[s : s + n] for s, n in zip(self.start.tolist(), self.length.tolist())]

    def padded(self, length: int | None = None, side: str = "right") -> Tensor:
        """The rows as one tensor [B, L, ...], zeros where a row has ended.

        Args:
            length: L; the longest row's when left out.
            side: `right` or `left`: where the zeros are put.

        Raises:
            ValueError: a row is longer than `length`.
        """
        mask = self.mask(length, side)
        padded = self.values.new_zeros(*mask.shape, *self.values.shape[1:])
        padded[mask] = torch.cat(self.rows())
        return padded

    def mask(self, length: int | None = None, side: str = "right") -> Tensor:
        """Where `padded` holds an element of a row [B, L], bool, on the device of the values."""
        longest = int(self.length.max())
        length = longest if length is None else length
        if longest > length:
            raise ValueError(f"a row of {longest} elements does not fit into {length}")
        place, count = torch.arange(length), self.length[:, None]
        mask = place < count if side == "right" else place >= length - count
        return mask.to(self.values.device)

    def map(self, change: Callable[[Tensor], Tensor]) -> Ragged:
        """The same rows of changed values, such as moved or cast ones."""
        return Ragged(change(self.values), self.start, self.length)


@dataclass(frozen=True, eq=False)
class Conditioning:
    """Named tensors of B rows; the family that made them reads them by the same names.

    Attributes:
        tensors: by name, each [B, ...], or `Ragged` where rows have lengths of their own. `embeddings` are of the
            prompt's tokens [B, L, D] in every family and `mask` [B, L] says which of them count; the other names
            (pooled, time_ids, ...) are the family's own. Empty where there is nothing to say.
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
            KeyError: there is none.
            TypeError: its rows are ragged.
        """
        value = self.tensors[name]
        if isinstance(value, Ragged):
            raise TypeError(f"the rows of {name!r} have lengths of their own; ask for them padded or as a list")
        return value

    def ragged(self, name: str) -> Ragged:
        """The rows of a name with lengths of their own.

        Raises:
            KeyError: there is none.
            TypeError: it is one tensor.
        """
        value = self.tensors[name]
        if not isinstance(value, Ragged):
            raise TypeError(f"{name!r} is one tensor, not rows with lengths of their own")
        return value

    def map(self, change: Callable[[Tensor], Tensor]) -> Conditioning:
        """The same rows with every tensor changed, such as copied to a device."""
        changed = {name: v.map(change) if isinstance(v, Ragged) else change(v) for name, v in self.tensors.items()}
        return Conditioning(changed)

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Conditioning:
        """Moves every tensor and casts those of floating numbers: ids and masks stay what they are."""
        return self.map(lambda tensor: tensor.to(device, dtype if tensor.is_floating_point() else tensor.dtype))

    def merged(self, other: Conditioning) -> Conditioning:
        """The tensors of both, row by row: those of a prompt and those of an image."""
        return Conditioning({**self.tensors, **other.tensors})

    @staticmethod
    def cat(parts: Sequence[Conditioning]) -> Conditioning:
        """Joins the rows of several of the same names; tensors must agree but for the number of rows."""
        return Conditioning({name: _cat([part.tensors[name] for part in parts]) for name in parts[0].tensors})

    def prompt_vector(self) -> Tensor:
        """One vector for each prompt whatever the family [B, D], float32: the mean over the tokens that count."""
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
