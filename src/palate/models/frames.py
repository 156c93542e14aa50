"""How a training picture was cut out of its original: what some families are given about each image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Frames:
    """B cuts, in pixels.

    Attributes:
        rows: [B, 6] float32: height and width of the original, top and left of the cut in the original as it was
            resized, height and width of the picture.

    Reference: Podell et al. 2023 (arXiv:2307.01952), section 2.2 ("micro-conditioning").
    """

    rows: Tensor

    @classmethod
    def squares(cls, sizes: Sequence[tuple[int, int]], resolution: int) -> Frames:
        """The largest centred squares of originals, resized: what `score.base.to_squares` makes.

        Args:
            sizes: (width, height) of each original, as PIL gives them.
            resolution: pixels a side of the squares.
        """
        return cls(torch.tensor([_square(*size, resolution) for size in sizes], dtype=torch.float32).view(-1, 6))

    @classmethod
    def whole(cls, count: int, height: int, width: int) -> Frames:
        """Pictures that show all of an original of their own size, as a pipeline assumes of what it generates."""
        return cls(torch.tensor([[height, width, 0, 0, height, width]], dtype=torch.float32).repeat(count, 1))

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: Any) -> Frames:
        """Some rows: a slice or an index tensor [N]."""
        return Frames(self.rows[index])


def _square(width: int, height: int, resolution: int) -> tuple[int, int, int, int, int, int]:
    scale = resolution / min(width, height)
    top, left = (round((side * scale - resolution) / 2) for side in (height, width))
    return height, width, top, left, resolution, resolution
