"""Feedback in columns: a million ranked sets or graded images as a few arrays, images as places.

What training reads. A record (`RankedSet`, `GradedImage`) is what readers and writers pass on one at a time; as
objects, a million of them would be gigabytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from palate.records.graded_image import GradedImage
from palate.records.image_columns import Images, first_seen, numbered
from palate.records.ranked import RankedSet, key_of


@dataclass(frozen=True, eq=False)
class Rankings:
    """S ranked sets. A *member* is an image of a set; those of one set follow each other, M in all.

    Attributes:
        prompts: the prompts, each once.
        prompt: the number of each set's prompt [S].
        images: the images, each once.
        image: the number of each member's image [M].
        rank: of each member [M], 1 is best; 0 where nobody has ranked the set.
        start: the first member of each set, and M after the last [S + 1].
        voted: the set of each vote [W], in ascending order.
        vote: the ranks that each vote gives to the members of its set, one vote after the other.
    """

    prompts: list[str]
    prompt: np.ndarray
    images: Images
    image: np.ndarray
    rank: np.ndarray
    start: np.ndarray
    voted: np.ndarray
    vote: np.ndarray

    def __len__(self) -> int:
        return len(self.prompt)

    @property
    def size(self) -> np.ndarray:
        """How many members each set has [S]."""
        return np.diff(self.start)

    @property
    def ranked(self) -> np.ndarray:
        """Whether somebody has ranked each set [S], bool."""
        return self.rank[self.start[:-1]] > 0

    @property
    def has_preference(self) -> np.ndarray:
        """Whether each set's ranking puts any image above another [S], bool."""
        return np.maximum.reduceat(self.rank, self.start[:-1]) > 1 if len(self) else np.empty(0, bool)

    def keys(self, sets: np.ndarray) -> list[str]:
        """The key of each of some sets [K], as `RankedSet.key`."""
        digest, found = self.images.digest, []
        for number in sets.tolist():
            first, end = self.start[number : number + 2].tolist()
            digests = (digest[each].tobytes().hex() for each in self.image[first:end].tolist())
            found.append(key_of(self.prompts[int(self.prompt[number])], digests))
        return found

    def by_size(self, sets: np.ndarray) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """For each size n: it, the sets of that size among some [K], and their members [K, n]."""
        size = self.size[sets]
        for n in np.unique(size):
            same = sets[size == n]
            yield int(n), same, self.start[same][:, None] + np.arange(n)

    def take(self, sets: np.ndarray) -> Rankings:
        """Some of the sets, by their numbers in ascending order, of the same prompts and images."""
        size, chosen = self.size[sets], np.zeros(len(self), bool)
        chosen[sets] = True
        member, voting = np.repeat(chosen, self.size), chosen[self.voted]
        return replace(
            self,
            prompt=self.prompt[sets],
            image=self.image[member],
            rank=self.rank[member],
            start=np.concatenate([[0], np.cumsum(size)]),
            voted=(np.cumsum(chosen) - 1)[self.voted[voting]],
            vote=self.vote[np.repeat(voting, self.size[self.voted])],
        )

    def shares(self, sets: np.ndarray, n: int, votes: bool = True) -> np.ndarray:
        """The share of raters that prefer image i to j of some sets [K], [K, n, n]; a tie is a half.

        Args:
            sets: their numbers in ascending order.
            n: places; nan where a set has fewer images, on the diagonal, and where nobody has compared them.
            votes: go by each rater's votes where there are any, not by the ranking that they add up to.
        """
        share = np.full((len(sets), n, n), np.nan)
        begin = np.cumsum(self.size[self.voted]) - self.size[self.voted]
        for size, same, members in self.by_size(sets):
            rows = np.searchsorted(sets, same)
            ranked = self.ranked[same]
            share[rows[ranked], :size, :size] = _preferred(self.rank[members[ranked]])
            cast = np.flatnonzero(np.isin(self.voted, same)) if votes else np.empty(0, int)
            if len(cast):
                of_set, first = np.unique(self.voted[cast], return_index=True)
                preferred = _preferred(self.vote[begin[cast][:, None] + np.arange(size)])
                mean = np.add.reduceat(preferred, first) / np.diff([*first, len(cast)])[:, None, None]
                share[np.searchsorted(sets, of_set), :size, :size] = mean
        share[:, np.arange(n), np.arange(n)] = np.nan
        return share

    def pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """Every two members of a set of which one is ranked above the other.

        Returns:
            The set of each pair [N]; and its members [N, 2], the better first. Set by set, and within a set in the
            order of the members.
        """
        found = [(np.empty((0, 2), int), np.empty((0, 2), int))]
        for n, sets, members in self.by_size(np.flatnonzero(self.ranked)):
            first, second = np.array(list(combinations(range(n), 2))).T
            one, other = members[:, first], members[:, second]  # [K, n (n - 1) / 2]
            better = self.rank[one] < self.rank[other]
            pair = np.stack([np.where(better, one, other), np.where(better, other, one)], -1)
            strict = self.rank[one] != self.rank[other]
            order = np.stack(np.broadcast_arrays(sets[:, None], np.arange(len(first))), -1)
            found.append((order[strict], pair[strict]))
        order, pair = (np.concatenate(each) for each in zip(*found))
        place = np.lexsort((order[:, 1], order[:, 0]))
        return order[place, 0], pair[place]

    @classmethod
    def of(cls, sets: Iterable[RankedSet]) -> Rankings:
        """The columns of records."""
        sets = list(sets)
        members = Images.of([image for each in sets for image in each.images])
        image, first = first_seen(members.digest)
        prompts, prompt = numbered([each.prompt for each in sets])
        votes = [(number, vote) for number, each in enumerate(sets) for vote in each.votes]
        return cls(
            prompts,
            prompt,
            members.take(first),
            image,
            np.array([rank for each in sets for rank in each.ranks or (0,) * len(each.images)], int),
            np.cumsum([0, *(len(each.images) for each in sets)]),
            np.array([number for number, _ in votes], int),
            np.array([rank for _, vote in votes for rank in vote.ranks], int),
        )


@dataclass(frozen=True, eq=False)
class Grades:
    """G graded images.

    Attributes:
        prompts: the prompts, each once.
        prompt: the number of each one's prompt [G].
        images: the images, each once.
        image: the number of each one's image [G].
        grade: in [0, 1], 1 is best [G], float64.
    """

    prompts: list[str]
    prompt: np.ndarray
    images: Images
    image: np.ndarray
    grade: np.ndarray

    def __len__(self) -> int:
        return len(self.grade)

    def __iter__(self) -> Iterator[GradedImage]:
        for prompt, image, grade in zip(self.prompt.tolist(), self.image.tolist(), self.grade.tolist()):
            yield GradedImage(self.prompts[int(prompt)], self.images[image], grade)

    @classmethod
    def of(cls, graded: Iterable[GradedImage]) -> Grades:
        """The columns of records."""
        graded = list(graded)
        images = Images.of([each.image for each in graded])
        image, first = first_seen(images.digest)
        prompts, prompt = numbered([each.prompt for each in graded])
        return cls(prompts, prompt, images.take(first), image, np.array([each.grade for each in graded], float))

    def joined(self, other: Grades) -> Grades:
        """These graded images, then the other's."""
        images, image = self.images.joined(other.images)
        prompts, number = numbered([*self.prompts, *other.prompts])
        return Grades(
            prompts,
            np.concatenate([self.prompt, number[len(self.prompts) :][other.prompt]]),
            images,
            np.concatenate([self.image, image[other.image]]),
            np.concatenate([self.grade, other.grade]),
        )


def _preferred(ranks: np.ndarray) -> np.ndarray:
    """Of rankings [W, n], whether each prefers i to j, 1 or 0, a half for a tie [W, n, n]."""
    return (1 + np.sign(ranks[:, None, :] - ranks[:, :, None])) / 2
