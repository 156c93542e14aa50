"""Images to imitate: the best images of rankings, or a folder of chosen images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from palate.core.errors import InputError
from palate.prefer.indexing import indexed
from palate.prefer.load import built_in, load_rankings
from palate.prefer.readers.pair_folder import IMAGE, PAIR
from palate.records.columns import Grades
from palate.records.graded_image import GradedImage
from palate.records.graded_parquet import write_graded
from palate.records.image_columns import first_seen
from palate.records.image_folder import metadata_rows, read_image_folder
from palate.records.read_columns import read_grades

RANKED = (set(PAIR) | set(IMAGE) | {"preferred_file_name", "rejected_file_name"}) - {"file_name", "prompt"}
"""The columns that only a folder of rankings has."""


def load_curated(source: str | Path, cache: Path | None = None) -> Grades:
    """The distinct images to imitate, as graded images of grade 1.

    Args:
        source: rankings as `load_rankings` takes them, of which the images of rank 1 are taken from each set that is
            not one tie; or an ImageFolder with prompts, such as a run of `palate filter`, whose images are all taken.
        cache: as for `load_rankings`.

    Raises:
        InputError: there is no such source, or it ranks no image above another.
    """
    path = Path(source).expanduser()
    if str(source) not in built_in() and path.is_dir() and is_curated(path):

        def write(file: Path, about: Any) -> None:
            images = (GradedImage(each.prompt, each.image, 1.0) for each in read_image_folder(path))
            write_graded(images, file, embed=False, about=about)

        return read_grades([indexed(path, "curated", write, cache)])
    rankings = load_rankings(source, cache)
    member = np.repeat(rankings.has_preference, rankings.size) & (rankings.rank == 1)
    prompt, image = np.repeat(rankings.prompt, rankings.size)[member], rankings.image[member]
    if not len(image):
        raise InputError(f"{source} ranks no image above another, so there is none to imitate; rank or choose some")
    _, first = first_seen(prompt.astype(int) * len(rankings.images) + image)
    return Grades(rankings.prompts, prompt[first], rankings.images, image[first], np.ones(len(first)))


def is_curated(folder: Path) -> bool:
    """Whether a folder has images with prompts and no columns that compare them."""
    rows = metadata_rows(folder)
    return bool(rows) and all("file_name" in row.values and not RANKED & row.values.keys() for row in rows)
