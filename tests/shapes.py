"""Preferences between images of several shapes, for tests."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

from palate.prefer.grades import write_graded
from palate.records.graded_image import GradedImage
from palate.records.images import StoredImage
from palate.records.parquet import write_sets
from palate.records.ranked import RankedSet

SHAPES = ((16, 16), (40, 16), (16, 48), (60, 20))
"""Width and height in pixels of each set's images, in turn. At 16 pixels, in steps of 8, their buckets are 16 x 16,
24 x 8 and 8 x 24."""


def picture(number: int, bright: bool, size: tuple[int, int]) -> StoredImage:
    """A noisy picture of a width and height, light or dark, which a random network can distinguish."""
    width, height = size
    pixels = np.random.default_rng(number).integers(0, 80, (height, width, 3)) + (170 if bright else 0)
    buffer = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(buffer, "PNG")
    return StoredImage(buffer.getvalue())


def mixed_pairs(path: Path, count: int = 12, scale: int = 1, n: int = 2) -> Path:
    """Ranked sets of n images in a Parquet file; the images of a set have one of the `SHAPES`, times a scale."""
    sets = []
    for i in range(count):
        width, height = SHAPES[i % len(SHAPES)]
        images = [picture(i + 100 * place, not place, (scale * width, scale * height)) for place in range(n)]
        sets.append(RankedSet(f"{i % 5} stars", tuple(images), tuple(range(1, n + 1))))
    write_sets(sets, path)
    return path


def mixed_grades(path: Path, count: int = 12, grades: tuple[float, float] = (1.0, 0.0)) -> Path:
    """Graded images of the `SHAPES` in a Parquet file."""
    rows = [(picture(i, i % 2 == 0, SHAPES[i % len(SHAPES)]), grades[i % 2]) for i in range(count)]
    write_graded([GradedImage(f"{i % 5} stars", *row) for i, row in enumerate(rows)], path)
    return path
