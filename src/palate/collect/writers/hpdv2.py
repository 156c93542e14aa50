"""HPDv2's test split (Wu et al. 2023, arXiv:2306.09341): `test.json`, and its images in `test/`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from palate.collect.writers.picture_files import name_of, place_images
from palate.core.json_files import write_json
from palate.prefer.aggregation import aggregate
from palate.prefer.formats.hpdv2 import ANNOTATIONS, IMAGES, PROMPT, RANK, SYSTEMS, USER, written_ranks
from palate.records.ranked import RankedSet
from palate.records.tally import Tally


def write(folder: Path, sets: Sequence[RankedSet], tally: Tally) -> dict[str, int]:
    """Writes one row for each set, its votes as `raw_annotations`, and the systems under a key of their own.

    The tally counts what a row cannot represent: seeds, stars, and votes whose combination is not the ranking of their
    set (too few votes for the winner, or ranks from stars), because readers of the row combine its votes again.

    Returns:
        How many rows there are.
    """
    tally.drop("seeds without a place", sum(len(each.seeds) for each in sets))
    tally.drop("mean stars without a place", sum(len(values) for each in sets for values in each.scores.values()))
    rows = [_row(each, tally) for each in sets]
    place_images((image for each in sets for image in each.images), folder / "test")
    write_json(folder / "test.json", rows, ascii=False)
    return {"rows": len(rows)}


def _row(ranked: RankedSet, tally: Tally) -> dict[str, Any]:
    row: dict[str, Any] = {
        PROMPT: ranked.prompt,
        IMAGES: [name_of(image) for image in ranked.images],
        RANK: written_ranks(ranked.ranks or ()),
    }
    if ranked.votes and aggregate(ranked.votes, len(ranked.images)) == ranked.ranks:
        row[ANNOTATIONS] = [{RANK: written_ranks(vote.ranks), USER: vote.rater} for vote in ranked.votes]
    else:
        tally.drop("votes that do not add up to the ranks of their set", len(ranked.votes))
    if ranked.systems:
        row[SYSTEMS] = list(ranked.systems)
    return row
