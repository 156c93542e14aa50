"""How a training image was cropped from its original, which is an input of some families' networks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Frames:
    """The crops of B images, in pixels.

    Attributes:
        rows: [B, 6] float32: height and width of the original, top and left of the crop in the resized original, height
            and width of the image.

    Reference: Podell et al. 2023 (arXiv:2307.01952), section 2.2 ("micro-conditioning").
    """

    rows: Tensor

    @classmethod
    def crops(cls, sizes: Sequence[tuple[int, int]], height: int, width: int) -> Frames:
        """The largest centred crops of originals, resized to a height and width, as `score.base.to_size` makes them.

        Args:
            sizes: (width, height) of each original, as in PIL.
            height, width: of the images, in pixels.
        """
        rows = [_crop(*size, height, width) for size in sizes]
        return cls(torch.tensor(rows, dtype=torch.float32).view(-1, 6))

    @classmethod
    def whole(cls, count: int, height: int, width: int) -> Frames:
        """Images that are not cropped and not resized, as a pipeline assumes when it generates."""
        return cls(torch.tensor([[height, width, 0, 0, height, width]], dtype=torch.float32).repeat(count, 1))

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: Any) -> Frames:
        """Some rows: a slice or an index tensor [N]."""
        return Frames(self.rows[index])


def _crop(full_width: int, full_height: int, height: int, width: int) -> tuple[int, int, int, int, int, int]:
    scale = max(height / full_height, width / full_width)
    top, left = (round((full * scale - side) / 2) for full, side in ((full_height, height), (full_width, width)))
    return full_height, full_width, top, left, height, width
