"""Pairs of a better and a worse image with the numbers of raters that preferred each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

from palate.core.errors import InputError
from palate.core.values import shown
from palate.records import checked
from palate.records.checked_set import checked_set
from palate.records.images import StoredImage
from palate.records.ranked import RankedSet, Vote

MOST_RATERS = 10_000
"""The highest number of raters of one pair; a higher number is rather a mistake."""
RATERS_OF_A_SHARE = 20
"""The most raters that a share without a number of raters stands for."""


def voted_pair(
    prompt: str,
    better: StoredImage,
    worse: StoredImage,
    votes: Sequence[int] | None = None,
    systems: Sequence[str] = (),
    check: Callable[[RankedSet], RankedSet] = checked_set,
) -> RankedSet:
    """A pair as a ranked set, after both images were decoded.

    Args:
        prompt: the prompt of both images.
        better, worse: the images.
        votes: how many raters preferred the better, and how many the worse image; the raters have no names, so the
            first of one prompt is not the first of another.
        systems: the models that made the two images.
        check: the check of the images.

    Raises:
        InputError: an image cannot be decoded, or both are the same image.
    """
    first, second = votes or (0, 0)
    ranks = [(1, 2)] * first + [(2, 1)] * second
    return check(
        RankedSet(
            prompt=prompt,
            images=(better, worse),
            ranks=(1, 2),
            votes=tuple(Vote(f"rater {number}", each) for number, each in enumerate(ranks)),
            systems=tuple(systems) if any(systems) else (),
        )
    )


def vote_counts(values: Sequence[Any], what: str) -> tuple[int, int] | None:
    """The numbers of votes for two images; None where they are missing or nobody voted.

    Raises:
        InputError: one is no number of raters.
    """
    if all(map(checked.missing, values)):
        return None
    if len(values) != 2:
        raise InputError(f"{what} has {len(values)} numbers, not one for each of two images; correct it")
    first, second = (checked.integer(value, what, 0, MOST_RATERS) for value in values)
    return (first, second) if first + second else None


def counts_of_share(value: Any, what: str) -> tuple[int, int] | None:
    """The votes that a share of raters stands for: the fraction nearest to it of at most `RATERS_OF_A_SHARE` raters.

    >>> counts_of_share(0.7, "the share")
    (7, 3)

    Raises:
        InputError: it is not in [0, 1].
    """
    if checked.missing(value):
        return None
    share = checked.finite_number(value, what)
    if not 0 <= share <= 1:
        raise InputError(f"{what} is {shown(value)}, and must be from 0 to 1")
    fraction = Fraction(share).limit_denominator(RATERS_OF_A_SHARE)
    return fraction.numerator, fraction.denominator - fraction.numerator


def sure_enough(value: Any, least: float | None, what: str) -> str:
    """Why a comparison is left out for its confidence, as the tally counts it; "" where it is not.

    Args:
        value: the confidence, or an empty cell.
        least: the lowest confidence that is read; None reads all.
        what: how an error names the confidence.
    """
    if checked.missing(value):
        return "" if least is None else "pairs without a confidence"
    found = checked.finite_number(value, what)
    if not 0 <= found <= 1:
        raise InputError(f"{what} is {shown(value)}, and must be from 0 to 1")
    return "pairs of lower confidence" if least is not None and found < least else ""
