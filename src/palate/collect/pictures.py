"""Pictures as raters see them: one format and one size a comparison, nothing in them but pixels."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageOps

GREY = (119, 119, 119)
"""Around a picture of another shape; the middle of perceived lightness."""


@dataclass(frozen=True)
class Picture:
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
        """A name by content, relative to the study."""
        return f"images/{hashlib.sha256(self.data).hexdigest()[:40]}.png"


def alike(images: Sequence[Image.Image]) -> list[Picture]:
    """The same pictures in one format and size, which tell nothing of what made them.

    The size is the smallest width and the smallest height of them; a picture that is larger is made smaller, whole, and
    centred on grey where its shape is another.

    Args:
        images: RGB.
    """
    size = min(image.width for image in images), min(image.height for image in images)
    return [_encoded(_fitted(image, size)) for image in images]


def _fitted(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    if image.size == size:
        return image
    return ImageOps.pad(image, size, Image.Resampling.LANCZOS, color=GREY)


def _encoded(image: Image.Image) -> Picture:
    plain = Image.frombytes("RGB", image.size, image.convert("RGB").tobytes())  # pixels alone, whatever `info` had
    buffer = io.BytesIO()
    plain.save(buffer, "png")
    return Picture(buffer.getvalue(), plain.width, plain.height)
