"""A perceptual hash, which is nearly the same for two images that look nearly the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL import Image

SIDE = 8


def difference_hash(image: Image.Image) -> int:
    """The difference hash of an image: 64 bits, each says whether a cell is darker than its right neighbour.

    The image is reduced to 9 x 8 grey cells, so the hash does not change with its size, its compression or a small
    change of brightness. An image of one colour has hash 0.

    Reference: N. Krawetz, "Kind of Like That" (2013), hackerfactor.com/blog.
    """
    from PIL import Image

    cells = np.asarray(image.convert("L").resize((SIDE + 1, SIDE), Image.Resampling.BOX), int)
    return int.from_bytes(np.packbits(cells[:, 1:] > cells[:, :-1]).tobytes(), "big")


def bits_apart(one: int, other: int) -> int:
    """The number of different bits of two hashes, 0 to 64."""
    return (one ^ other).bit_count()
