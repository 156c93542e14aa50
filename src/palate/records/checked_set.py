"""The check that every reader makes of a ranked set, and the same for images that occur in many sets."""

from __future__ import annotations

import struct
from dataclasses import replace

from palate.core.errors import InputError
from palate.records.images import Facts, StoredImage
from palate.records.ranked import RankedSet

_SIZE = struct.Struct("<II")


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


class OnceDecoded:
    """`checked_set` for a data set whose images occur in several sets: each image file is decoded once.

    The digest and the size of each file are in memory meanwhile, about 300 bytes for an image.
    """

    def __init__(self) -> None:
        self._facts: dict[str, bytes] = {}

    def __call__(self, ranked: RankedSet) -> RankedSet:
        """As `checked_set`."""
        found = checked_set(ranked.with_images(map(self._known, ranked.images)))
        for image in found.images:
            if image.path and image.facts:
                digest, width, height = image.facts
                self._facts[str(image.path)] = bytes.fromhex(digest) + _SIZE.pack(width, height)
        return found

    def _known(self, image: StoredImage) -> StoredImage:
        found = self._facts.get(str(image.path)) if image.path and not image.facts else None
        return replace(image, facts=Facts(found[:32].hex(), *_SIZE.unpack(found[32:]))) if found else image
