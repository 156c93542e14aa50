"""Label Studio's tasks (https://labelstud.io/guide/task_format): the names that the reader and the writer share."""

from __future__ import annotations

import re

SERVED = "/data/local-files/?d="
"""The prefix of Label Studio's URLs of files below its document root
(https://labelstud.io/guide/storage#Local-storage)."""
SYSTEMS, SEEDS, RATER = "systems", "seeds", "rater"
"""Keys of `meta` of a task and of a result, where our own exports keep what Label Studio's format has no fields for."""
TIE, BOTH_BAD, ALL_BAD = "tie", "both_bad", "all_bad"
"""Choices of our own exports that name no image."""
_BUCKET = "rank "


def bucket_name(rank: int) -> str:
    """The name of the bucket of a Ranker that holds the images of a rank."""
    return f"{_BUCKET}{rank}"


def bucket_rank(name: str) -> int | None:
    """The number in a bucket's name, in our own exports and in others; None where there is none."""
    found = re.search(r"[0-9]{1,9}", name)
    return int(found[0]) if found else None
