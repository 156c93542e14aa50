"""Human Preference Dataset v3 (Ma et al. 2025, arXiv:2508.03789): `train.json`, `test.json` and `images/`.

Each file is a list of pairs with `prompt`, `path1` (the preferred image), `path2`, and where they are known
`confidence`, `choice_dist` (how many raters chose each image), `model1` and `model2`. The order of the two numbers of
`choice_dist` is not that of the paths: HPSv3's own training code sorts them, and takes the higher one for `path1`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from palate.core.errors import InputError
from palate.core.values import shown
from palate.prefer.readers.reader import EVERYTHING, FormatReader, Selection
from palate.prefer.readers.splits import files_by_split, of_split
from palate.prefer.readers.voted_pairs import sure_enough, vote_counts, voted_pair
from palate.records import checked
from palate.records.checked_set import OnceDecoded
from palate.records.images import StoredImage
from palate.records.ranked import RankedSet
from palate.records.table_stream import first_object, stream_table
from palate.records.tally import Tally

BETTER, WORSE, CONFIDENCE, VOTES, MODELS = "path1", "path2", "confidence", "choice_dist", ("model1", "model2")
KEYS = {BETTER, WORSE}


def matches(path: Path) -> bool:
    """Whether this is such a file, or a folder with some."""
    return bool(_found(path))


def read(path: Path, tally: Tally, selection: Selection = EVERYTHING) -> Iterator[RankedSet]:
    """One pair for each row, with a vote for each rater that `choice_dist` counts.

    Args:
        path: a folder, or one of its files.
        tally: counts what is left out: bad rows, and with `selection.confidence` pairs of lower or without confidence.
        selection: what to read; one row is read at a time.

    Raises:
        InputError: a row is bad.
    """
    check = OnceDecoded()
    for file in of_split(_found(path), selection.split, path, tally):
        for name, row in stream_table(file, "list of pairs", tally):
            with tally.row(name):
                if not isinstance(row, dict):
                    raise InputError(
                        f"{shown(row)} is not an object with {BETTER} and {WORSE}; download the file again"
                    )
                if reason := sure_enough(row.get(CONFIDENCE), selection.confidence, f"the {CONFIDENCE}"):
                    tally.drop(reason)
                else:
                    yield _pair(row, file.parent, check)


def _found(path: Path) -> dict[str, list[Path]]:
    found = files_by_split(path, ".json")
    files = {
        split: [file for file in files if (first_object(file) or {}).keys() >= KEYS] for split, files in found.items()
    }
    return {split: some for split, some in files.items() if some}


def _pair(row: dict[str, Any], folder: Path, check: OnceDecoded) -> RankedSet:
    better, worse = (
        StoredImage(path=checked.file_in(folder, row.get(name), f"the {name}")) for name in (BETTER, WORSE)
    )
    chosen = row.get(VOTES)
    if chosen is not None and not isinstance(chosen, list):
        raise InputError(f"the {VOTES} is {shown(chosen)}, not a list of two numbers; correct it")
    counts = vote_counts(chosen or [], f"the {VOTES}")
    systems = [checked.optional_name(row.get(name), f"the {name}") for name in MODELS]
    return voted_pair(checked.prompt_in(row), better, worse, counts and sorted(counts, reverse=True), systems, check)


READER = FormatReader(
    matches,
    read,
    "HPDv3 (a JSON list with path1 and path2)",
    splits=True,
    confidences=True,
)
