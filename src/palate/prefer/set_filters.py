"""Filters of ranked sets: each takes one set and returns what is left of it, or None if nothing to compare is left."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import combinations
from typing import TypeAlias

from palate.core.errors import InputError
from palate.prefer.perceptual_hash import bits_apart, difference_hash
from palate.records.images import StoredImage
from palate.records.ranked import RankedSet, members_of
from palate.records.tally import Tally

SetFilter: TypeAlias = Callable[[RankedSet], RankedSet | None]
"""A filter. What it removes of a set that it keeps, it counts itself."""


def by_system(keep: Collection[str], without: Collection[str], tally: Tally) -> SetFilter:
    """Removes images by the names of their systems.

    Args:
        keep: the only systems that are kept; empty for all.
        without: the systems that are removed.
        tally: counts removed images.
    """

    def passes(ranked: RankedSet) -> RankedSet | None:
        if not ranked.systems:
            raise InputError(f"the set of {ranked.prompt!r} does not say which systems made its images")
        kept = [(not keep or name in keep) and name not in without for name in ranked.systems]
        return _left(ranked, kept, "images removed by system", tally)

    return passes


def by_score(
    scores: Mapping[tuple[str, str], float] | None, column: str, at_least: float, at_most: float, tally: Tally
) -> SetFilter:
    """Removes images whose score is out of bounds.

    Args:
        scores: the score of each image by the SHA-256 of its file and its prompt, and by the former and "" where its
            score is the same with every prompt; None for the scores in the sets themselves.
        column: the name of the scorer.
        at_least, at_most: the bounds, which are kept.
        tally: counts removed images; an image without a score makes its set a bad row.
    """

    def found(image: StoredImage, prompt: str) -> float:
        value = (scores or {}).get((image.digest(), prompt), (scores or {}).get((image.digest(), "")))
        if value is None:
            raise InputError(f"an image of {prompt!r} ({image}) has no score {column!r}")
        return value

    def passes(ranked: RankedSet) -> RankedSet | None:
        if scores is None and column not in ranked.scores:
            fix = "give --scores with a run of `palate score` on the images"
            raise InputError(f"the set of {ranked.prompt!r} has no scores {column!r}; {fix}")
        values = ranked.scores[column] if scores is None else [found(image, ranked.prompt) for image in ranked.images]
        return _left(ranked, [at_least <= each <= at_most for each in values], "images removed by score", tally)

    return passes


def without_duplicates(distance: int | None, tally: Tally) -> SetFilter:
    """Removes images that look like a better one of their set, and sets that are the same as an earlier one.

    Args:
        distance: images whose difference hashes differ in so many bits or fewer are duplicates; None for images of the
            same bytes alone.
        tally: counts removed images.
    """
    seen: set[str] = set()

    def passes(ranked: RankedSet) -> RankedSet | None:
        if (key := ranked.key()) in seen:
            return None
        seen.add(key)
        order = sorted(range(len(ranked.images)), key=lambda place: (ranked.ranks or (1,) * len(ranked.images))[place])
        digests = [image.digest() for image in ranked.images]
        hashes = [difference_hash(image.open()) for image in ranked.images] if distance is not None else []
        chosen: list[int] = []
        for place in order:
            same = (
                digests[place] == digests[other]
                or (distance is not None and bits_apart(hashes[place], hashes[other]) <= distance)
                for other in chosen
            )
            if not any(same):
                chosen.append(place)
        kept = [place in chosen for place in range(len(ranked.images))]
        return _left(ranked, kept, "images removed as duplicates", tally)

    return passes


def by_votes(least: int) -> SetFilter:
    """Removes sets on which fewer than `least` raters have voted."""
    return lambda ranked: ranked if len(ranked.votes) >= least else None


def by_agreement(least: float) -> SetFilter:
    """Removes sets whose raters agree less than `least` with the ranking, and sets without votes; see `agreement`."""

    def passes(ranked: RankedSet) -> RankedSet | None:
        share = agreement(ranked)
        return ranked if share is not None and share >= least else None

    return passes


def agreement(ranked: RankedSet) -> float | None:
    """The share of the raters who order a pair as the ranking does, mean over the pairs that the ranking orders.

    A rater's tie is half an agreement. None where nobody voted, or the ranking orders no pair.
    """
    shares = []
    for i, j in combinations(range(len(ranked.images)) if ranked.ranks else (), 2):
        if sign := (ranked.ranks or ())[j] - (ranked.ranks or ())[i]:
            shares += [(1 + _sign(sign * (vote.ranks[j] - vote.ranks[i]))) / 2 for vote in ranked.votes]
    return sum(shares) / len(shares) if shares else None


def _sign(number: int) -> int:
    return (number > 0) - (number < 0)


def _left(ranked: RankedSet, kept: Sequence[bool], reason: str, tally: Tally) -> RankedSet | None:
    """The set with the kept images, None if fewer than two are left."""
    tally.drop(reason, len(kept) - sum(kept))
    if all(kept):
        return ranked
    return members_of(ranked, _places(kept)) if sum(kept) > 1 else None


def _places(kept: Iterable[bool]) -> list[int]:
    return [place for place, each in enumerate(kept) if each]
