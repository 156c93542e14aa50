"""Pictures for raters: one format, usually one size for each comparison, and no metadata."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

GREY = (119, 119, 119)
"""The colour around a picture of another shape: the middle of perceived lightness."""


@dataclass(frozen=True)
class StudyPicture:
    """A PNG without metadata.

    Attributes:
        data: the file.
        width, height: in pixels.
    """

    data: bytes
    width: int
    height: int

    @property
    def file(self) -> str:
        """The file's name, which depends on its content, relative to the study."""
        return f"images/{hashlib.sha256(self.data).hexdigest()[:40]}.png"


def common_size(sizes: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """The size in which pictures are compared: the smallest width and the smallest height of them."""
    return min(width for width, _ in sizes), min(height for _, height in sizes)


def picture_of(image: Image.Image, size: tuple[int, int]) -> StudyPicture:
    """A picture in one format and size, without anything that identifies its model.

    A larger image is reduced, without cropping, and centred on grey where its aspect ratio differs.

    Args:
        image: RGB.
        size: width and height in pixels.
    """
    return _encoded(image if image.size == size else _fitted(image, size))


def _fitted(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """The whole image within `size`, centred on grey; Pillow's `pad` fails or shows none where a side rounds to 0."""
    (width, height), ratio = size, image.width / image.height
    if ratio > width / height:
        height = max(1, round(image.height / image.width * width))
    elif ratio < width / height:
        width = max(1, round(ratio * height))
    canvas = Image.new("RGB", size, GREY)
    within = image.resize((width, height), Image.Resampling.LANCZOS)
    canvas.paste(within, (round((size[0] - width) / 2), round((size[1] - height) / 2)))
    return canvas


def _encoded(image: Image.Image) -> StudyPicture:
    plain = Image.frombytes("RGB", image.size, image.convert("RGB").tobytes())  # only pixels, no metadata
    buffer = io.BytesIO()
    plain.save(buffer, "png")
    return StudyPicture(buffer.getvalue(), plain.width, plain.height)
