"""HPDv2 (Wu et al. 2023, arXiv:2306.09341): the files and keys of the released folder.

`<split>.json` is a list of rows, and `<split>/` has their images. A row of the test split has n images and their ranks,
from 0 for the best, by all raters together and by each rater; a row of the train split has two images, of which one is
preferred.
"""

from __future__ import annotations

from collections.abc import Iterable

SPLITS = ("train", "test")
PROMPT, IMAGES, PAIR, RANK, PREFERENCE, SYSTEMS = (
    "prompt",
    "image_path",
    "file_path",
    "rank",
    "human_preference",
    "system",
)
ANNOTATIONS, USER = "raw_annotations", "user_hash"


def written_ranks(ranks: Iterable[int]) -> list[int]:
    """Ranks that begin at 1 as ranks of this format, which begin at 0."""
    return [rank - 1 for rank in ranks]
