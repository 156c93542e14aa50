"""The check that every reader makes of a ranked set."""

from __future__ import annotations

from palate.core.errors import InputError
from palate.records.ranked import RankedSet


def checked_set(ranked: RankedSet) -> RankedSet:
    """The same set, after every image in it was decoded.

    Raises:
        InputError: an image cannot be decoded, or the same image has two different ranks.
    """
    ranked = ranked.with_images(image.checked() for image in ranked.images)
    places: dict[str, int] = {}
    for place, image in enumerate(ranked.images):
        before = places.setdefault(image.digest(), place)
        if ranked.ranks and ranked.ranks[before] != ranked.ranks[place]:
            raise InputError(
                f"images {before + 1} and {place + 1} are the same image ({image}), but have the ranks "
                f"{ranked.ranks[before]} and {ranked.ranks[place]}; give them the same rank, or leave one out"
            )
    return ranked
