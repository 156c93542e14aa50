"""Writing the pictures that an exported file refers to."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from palate.records.image_folder import ImageRecord, link_images
from palate.records.images import StoredImage


def name_of(image: StoredImage) -> str:
    """The file name of a study's picture, which depends only on its content, so equal pictures have equal names."""
    return image.path.name if image.path else f"{image.digest()}.png"


def place_images(images: Iterable[StoredImage], folder: Path) -> None:
    """Puts pictures into a folder, each once, under their own names.

    Raises:
        InputError: one is missing.
    """
    link_images((ImageRecord(name_of(each), each, "", 0, 0) for each in dict.fromkeys(images)), folder)
