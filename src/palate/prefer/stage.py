"""The parts that all `palate prefer` commands share: writing ranked sets and their counts to a run folder."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from types import MappingProxyType

from palate.core.errors import InputError
from palate.core.files import write_atomic
from palate.core.progress import track
from palate.core.runs import RunFolder
from palate.prefer.aggregation import aggregate
from palate.records.image_folder import ImageRecord
from palate.records.parquet import write_sets
from palate.records.ranked import RankedSet, Vote
from palate.records.tally import Tally

PREFERENCES = "preferences.parquet"
FREE = frozenset({"out"})
"""The only field of the configurations that no ranked set depends on."""


def write_preferences(
    run: RunFolder,
    sets: Iterable[RankedSet],
    tally: Tally,
    total: int | None = None,
    found: Mapping[str, int] = MappingProxyType({}),
    about: Mapping[str, str] | None = None,
) -> None:
    """Writes ranked sets one at a time, then the summary, and names the rows that were left out in `bad_rows.txt`.

    Args:
        run: the run folder; a finished one is left unchanged.
        sets: the ranked sets.
        tally: counts what `sets` leaves out.
        total: the number of sets, where that is known.
        found: further counts for the summary; read after all sets are written.
        about: metadata about the files with the images (`indexing.sources`): the images stay in these files, and their
            places are written; the images are embedded when it is left out.

    Raises:
        InputError: `sets` found a bad row; the new run folder is removed.
    """
    if run.finished is not None:
        return
    counts: Counter[str] = Counter()
    try:
        with run.timer("prefer"):
            counted = _counted(track(sets, "ranked sets", total), counts)
            write_sets(counted, run.path / PREFERENCES, embed=about is None, about=about)
    except InputError:
        run.abandon()
        raise
    if tally.bad:
        names = "\n".join(tally.bad) + "\n"
        write_atomic(run.path / "bad_rows.txt", names.encode(errors="backslashreplace"))
    run.finish({**counts, **found, **tally.summary()})


def ranked_by(
    votes: Sequence[Vote], records: Sequence[ImageRecord], scores: Mapping[str, Sequence[float]]
) -> RankedSet:
    """One prompt's generated images as a ranked set.

    Args:
        votes: the votes that rank the images.
        records: n images of one prompt.
        scores: the scores [n] of each scorer.
    """
    seeds = tuple(record.seed for record in records if record.seed is not None)
    return RankedSet(
        prompt=records[0].prompt,
        images=tuple(record.image for record in records),
        ranks=aggregate(votes, len(records)),
        votes=tuple(votes),
        systems=tuple(record.system or record.model for record in records),
        seeds=seeds if len(seeds) == len(records) else (),
        scores={name: tuple(values) for name, values in scores.items()},
    )


def comparable(groups: Iterable[list[ImageRecord]], tally: Tally) -> Iterator[list[ImageRecord]]:
    """The groups with two or more distinct images, each image once; what is left out is counted."""
    for records in groups:
        distinct: dict[str, ImageRecord] = {}
        for record in records:
            distinct.setdefault(record.image.digest(), record)
        tally.drop("images that are the same as another of their prompt", len(records) - len(distinct))
        if len(distinct) > 1:
            yield list(distinct.values())
        else:
            tally.drop("prompts with a single image")


def digest_rows(rows: Iterable[Sequence[object]]) -> str:
    """A digest of rows of plain values, for the inputs of a run."""
    found = hashlib.blake2b(digest_size=16)
    for row in rows:
        found.update(json.dumps(row).encode() + b"\n")
    return found.hexdigest()


def digest_sets(sets: Iterable[RankedSet]) -> str:
    """A digest of ranked sets with their images, for the inputs of a run."""
    return digest_rows(
        [each.prompt, [image.digest() for image in each.images], each.ranks, [vote.ranks for vote in each.votes]]
        for each in sets
    )


def _counted(sets: Iterable[RankedSet], counts: Counter[str]) -> Iterator[RankedSet]:
    for ranked in sets:
        n, ties = len(ranked.images), _ties(ranked.ranks or ())
        counts["ranked sets"] += 1
        counts["images"] += n
        counts["votes"] += len(ranked.votes)
        counts["pairs"] += n * (n - 1) // 2 - ties if ranked.ranks else 0
        counts["tied pairs"] += ties
        yield ranked


def _ties(ranks: Sequence[int]) -> int:
    """The number of pairs of images that share a rank."""
    return sum(one == other for one, other in combinations(ranks, 2))
