"""HPDv2 (Wu et al. 2023, arXiv:2306.09341): the files and keys of the released folder.

`<split>.json` is a list of rows, and `<split>/` has their images. A row of the test split has n images and their ranks,
from 0 for the best, of all raters together and of each; a row of the train split has two, of which one is preferred.
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
    """Ranks from 1 as the format has them, from 0."""
    return [rank - 1 for rank in ranks]
