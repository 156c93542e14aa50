"""Pick-a-Pic v2's Parquet (Kirstain et al. 2023, arXiv:2305.01569), with the columns of `yuvalkirstain/pickapic_v2`.

In Pick-a-Pic a row is one user's choice between two images. Here a row is the combined result of all raters of a pair,
so the user and the date are null; URLs are null because there are none. Images in `jpg_0` and `jpg_1` stay PNG:
decoders recognise the format from the bytes, and a JPEG would differ from the picture that raters saw.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from palate.collect.writers.picture_files import name_of
from palate.prefer.formats.pickapic import ARE_DIFFERENT, CAPTION, HAS_LABEL, IMAGES, LABELS, MODELS, UIDS, schema
from palate.records.parquet import write_rows
from palate.records.ranked import RankedSet
from palate.records.tally import Tally

FILE = "train-00000-of-00001.parquet"


def write(folder: Path, sets: Sequence[RankedSet], tally: Tally) -> dict[str, int]:
    """Writes every pair of images of every set; the two labels of a tie are one half each.

    The tally counts what a row cannot represent: single votes, seeds, stars, and that pairs came from a larger set.

    Returns:
        The number of rows, and how many of them are ties.
    """
    tally.drop("votes merged into one result for each pair", sum(len(each.votes) for each in sets))
    tally.drop("seeds without a place", sum(len(each.seeds) for each in sets))
    tally.drop("mean stars without a place", sum(len(values) for each in sets for values in each.scores.values()))
    tally.drop("sets of more than two images, taken apart into pairs", sum(len(each.images) > 2 for each in sets))
    pairs = [_Pair(number, each, *places) for number, each in enumerate(sets) for places in _places(each)]
    of_prompt = Counter(pair.ranked.prompt for pair in pairs)
    rows = (_row(index, pair, of_prompt[pair.ranked.prompt]) for index, pair in enumerate(pairs))
    write_rows(rows, schema(), folder / FILE, "pair")
    ties = sum(pair.best is None for pair in pairs)
    return {"rows": len(pairs), **({"of them ties": ties} if ties else {})}


@dataclass(frozen=True)
class _Pair:
    """Two places of the images of a set, with the set's number."""

    number: int
    ranked: RankedSet
    first: int
    second: int

    @property
    def best(self) -> int | None:
        """0 where the first place is better, 1 where the second is, None for a tie."""
        ranks = self.ranked.ranks or (1,) * len(self.ranked.images)
        return None if ranks[self.first] == ranks[self.second] else int(ranks[self.first] > ranks[self.second])


def _places(ranked: RankedSet) -> Iterator[tuple[int, int]]:
    return combinations(range(len(ranked.images)), 2)


def _row(index: int, pair: _Pair, of_prompt: int) -> dict[str, Any]:
    row: dict[str, Any] = {
        ARE_DIFFERENT: True,
        CAPTION: pair.ranked.prompt,
        HAS_LABEL: True,
        "ranking_id": pair.number,
        "num_example_per_prompt": of_prompt,
        "__index_level_0__": index,
    }
    for side, place in enumerate((pair.first, pair.second)):
        image = pair.ranked.images[place]
        row[UIDS[side]] = Path(name_of(image)).stem
        row[IMAGES[side]] = image.read()
        row[LABELS[side]] = 0.5 if pair.best is None else float(pair.best == side)
        row[MODELS[side]] = pair.ranked.systems[place] if pair.ranked.systems else None
    row["best_image_uid"] = "tie" if pair.best is None else row[UIDS[pair.best]]
    return row
