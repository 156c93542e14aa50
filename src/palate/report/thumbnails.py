"""Images in a report: reduced, and embedded as data URIs."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

THUMBNAIL = 192  # pixels of the longer side; smaller pictures are kept as they are


def thumbnail(image: Image.Image) -> Image.Image:
    """The image, reduced so that its longer side is at most THUMBNAIL pixels."""
    small = image.convert("RGB")
    small.thumbnail((THUMBNAIL, THUMBNAIL))
    return small


def data_uri(image: Image.Image) -> str:
    """A WebP data URI: lossless for images below THUMBNAIL, such as those of the tiny world, and lossy for others."""
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", lossless=max(image.size) < THUMBNAIL, quality=80, method=4)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()
