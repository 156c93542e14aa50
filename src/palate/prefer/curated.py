"""Images to imitate: the best of rankings, or a folder that somebody has chosen."""

from __future__ import annotations

from pathlib import Path

from palate.core.errors import InputError
from palate.prefer.load import built_in, load_preferences
from palate.prefer.readers.pair_folder import IMAGE, PAIR
from palate.records.graded import GradedImage
from palate.records.image_folder import metadata_rows, read_image_folder

RANKED = (set(PAIR) | set(IMAGE) | {"preferred_file_name", "rejected_file_name"}) - {"file_name", "prompt"}
"""Columns that only a folder of rankings has."""


def load_curated(source: str | Path) -> list[GradedImage]:
    """Every image to imitate, each once, as a graded image of grade 1.

    Args:
        source: rankings as `load_preferences` takes them, of which the images of rank 1 are taken wherever a set tells
            any apart; or an ImageFolder with prompts, such as a run of `palate filter`, of which all are taken.

    Raises:
        InputError: no such source, or no image in it that is above another.
    """
    path = Path(source).expanduser()
    if str(source) not in built_in() and path.is_dir() and is_curated(path):
        return [GradedImage(each.prompt, each.image, 1.0) for each in read_image_folder(path)]
    best = {
        (each.prompt, image.digest()): GradedImage(each.prompt, image, 1.0)
        for each in load_preferences(source)
        if len(set(each.ranks or ())) > 1
        for image, rank in zip(each.images, each.ranks or ())
        if rank == 1
    }
    if not best:
        raise InputError(f"{source} ranks no image above another, so there is none to imitate; rank or choose some")
    return list(best.values())


def is_curated(folder: Path) -> bool:
    """Whether a folder is images with prompts and nothing that compares them."""
    rows = metadata_rows(folder)
    return bool(rows) and all("file_name" in row.values and not RANKED & row.values.keys() for row in rows)
