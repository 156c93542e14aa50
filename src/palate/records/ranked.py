"""The preference record: n ranked images of one prompt, with the votes that the ranking was made from."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from palate.core.errors import InputError
from palate.records.images import StoredImage


@dataclass(frozen=True)
class Vote:
    """One person's ranking of the images of a set: 1 is best, ties share a rank."""

    rater: str
    ranks: tuple[int, ...]


@dataclass(frozen=True)
class RankedSet:
    """n >= 2 images of one prompt; a pair is n = 2.

    Args:
        prompt: the prompt that all the images were made from.
        images: [n].
        ranks: [n], 1 is best, ties share a rank; None where nobody has ranked the images yet.
        votes: each rater's own ranks [n].
        systems: [n] names of the models that made the images, or empty.
        seeds: [n] seeds that the images were sampled with, or empty.
        scores: [n] scores of each scorer, by the scorer's name.

    Raises:
        InputError: a field does not match the images; the message names it.
    """

    prompt: str
    images: tuple[StoredImage, ...]
    ranks: tuple[int, ...] | None = None
    votes: tuple[Vote, ...] = ()
    systems: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()
    scores: Mapping[str, tuple[float, ...]] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        n = len(self.images)
        if not self.prompt.strip():
            raise InputError("a ranked set without a prompt; give each set the prompt of its images")
        if n < 2:
            raise InputError(f"a ranked set needs two images or more to compare, not {n} (prompt: {self.prompt!r})")
        if self.ranks is not None:
            self._check_ranks("the ranking", self.ranks)
        for vote in self.votes:
            self._check_ranks(f"the vote of {vote.rater!r}", vote.ranks)
        lengths = {"systems": len(self.systems) or n, "seeds": len(self.seeds) or n}
        for name, length in {**lengths, **{f"scores {k!r}": len(v) for k, v in self.scores.items()}}.items():
            if length != n:
                raise InputError(f"{name} do not match the images: {length} for {n} (prompt: {self.prompt!r})")

    def _check_ranks(self, what: str, ranks: Sequence[int]) -> None:
        about = f"(prompt: {self.prompt!r}, ranks: {list(ranks)})"
        if len(ranks) != len(self.images):
            raise InputError(f"{what} does not match its images: {len(ranks)} ranks for {len(self.images)} {about}")
        if min(ranks) != 1:
            raise InputError(f"{what} must give its best image rank 1, not {min(ranks)} {about}")

    def key(self) -> str:
        """An identifier of the set that does not depend on the order of its images; random draws are keyed by it."""
        return key_of(self.prompt, (image.digest() for image in self.images))

    def with_images(self, images: Iterable[StoredImage]) -> RankedSet:
        """The same set with its images replaced by these [n]."""
        return replace(self, images=tuple(images))


def key_of(prompt: str, digests: Iterable[str]) -> str:
    """The key of a ranked set, from its prompt and the digests of its images."""
    return hashlib.sha256("\x1f".join([prompt, *sorted(digests)]).encode()).hexdigest()


def rank(values: Sequence[Any]) -> tuple[int, ...]:
    """The ranks [n] of values, the lowest value is best; equal values share a rank, and the ranks have no gaps.

    >>> rank([0.2, 0.1, 0.2, 0.5])
    (2, 1, 2, 3)
    """
    places = {value: place for place, value in enumerate(sorted(set(values)), 1)}
    return tuple(places[value] for value in values)


def members_of(ranked: RankedSet, places: Sequence[int]) -> RankedSet:
    """The set of some of a set's images, by their places [k] in it; ranks and votes are closed up."""

    def some(values: Sequence[Any]) -> tuple[Any, ...]:
        return tuple(values[place] for place in places) if values else ()

    return RankedSet(
        prompt=ranked.prompt,
        images=some(ranked.images),
        ranks=rank(some(ranked.ranks)) if ranked.ranks else None,
        votes=tuple(replace(vote, ranks=rank(some(vote.ranks))) for vote in ranked.votes),
        systems=some(ranked.systems),
        seeds=some(ranked.seeds),
        scores={name: some(values) for name, values in ranked.scores.items()},
    )
