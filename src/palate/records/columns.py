"""Feedback in columns: a million ranked sets or graded images as a few arrays, with the places of the images.

Training reads this form. Readers and writers pass single records (`RankedSet`, `GradedImage`); a million of these as
Python objects would take gigabytes of memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from palate.records.graded_image import GradedImage
from palate.records.image_columns import Images, first_seen, numbered
from palate.records.ranked import RankedSet, key_of


@dataclass(frozen=True, eq=False)
class Rankings:
    """S ranked sets. A *member* is one image of one set; the members of a set are adjacent, M in all.

    Attributes:
        prompts: the distinct prompts.
        prompt: the index in `prompts` of each set's prompt [S].
        images: the distinct images.
        image: the index in `images` of each member's image [M].
        rank: the rank of each member [M], 1 is best; 0 where nobody has ranked the set.
        start: the index of the first member of each set, and M at the end [S + 1].
        voted: the index of the set of each vote [W], in ascending order.
        vote: the ranks that each vote gives to the members of its set, votes concatenated.
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
        """Whether each set's ranking puts at least one image above another [S], bool."""
        return np.maximum.reduceat(self.rank, self.start[:-1]) > 1 if len(self) else np.empty(0, bool)

    def keys(self, sets: np.ndarray) -> list[str]:
        """The key of each of the given sets [K], as `RankedSet.key`."""
        digest, found = self.images.digest, []
        for number in sets.tolist():
            first, end = self.start[number : number + 2].tolist()
            digests = (digest[each].tobytes().hex() for each in self.image[first:end].tolist())
            found.append(key_of(self.prompts[int(self.prompt[number])], digests))
        return found

    def by_size(self, sets: np.ndarray) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """For each size n among the given sets: n, the sets of that size [K], and their members [K, n]."""
        size = self.size[sets]
        for n in np.unique(size):
            same = sets[size == n]
            yield int(n), same, self.start[same][:, None] + np.arange(n)

    def take(self, sets: np.ndarray) -> Rankings:
        """The sets with these indices, in ascending order, with the same prompts and images."""
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
        """The share of raters that prefer image i to image j in each of the given sets, [K, n, n]; a tie is a half.

        The value is nan on the diagonal, where a set has fewer than n images, and where nobody compared the two.

        Args:
            sets: the indices of the sets, in ascending order [K].
            n: the number of images in the result, at least that of the largest set.
            votes: use each rater's votes where there are any, and not the ranking that combines them.
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

    def distinct_votes(self, sets: np.ndarray) -> list[Counter[tuple[int, ...]]]:
        """How many raters gave each ranking of each of the given sets, in ascending order [K]."""
        counts: list[Counter[tuple[int, ...]]] = [Counter() for _ in sets]
        sizes = self.size[self.voted]
        ends = np.cumsum(sizes)
        for vote in np.flatnonzero(np.isin(self.voted, sets)).tolist():
            ranks = self.vote[ends[vote] - sizes[vote] : ends[vote]].tolist()
            counts[int(np.searchsorted(sets, self.voted[vote]))][tuple(ranks)] += 1
        return counts

    def reversed(self) -> Rankings:
        """The same sets with every ranking and every vote upside down."""
        voted = np.repeat(np.arange(len(self.voted)), self.size[self.voted])
        return replace(
            self,
            rank=_upside_down(self.rank, np.repeat(np.arange(len(self)), self.size)),
            vote=_upside_down(self.vote, voted),
        )

    def pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """All pairs of members of one set in which one is ranked above the other.

        Returns:
            The index of the set of each pair [N], and the members of each pair [N, 2], the better one first. Pairs are
            ordered by set, and within a set by member.
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
        """Records as columns."""
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
        prompts: the distinct prompts.
        prompt: the index in `prompts` of each graded image's prompt [G].
        images: the distinct images.
        image: the index in `images` of each graded image's image [G].
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
        """Records as columns."""
        graded = list(graded)
        images = Images.of([each.image for each in graded])
        image, first = first_seen(images.digest)
        prompts, prompt = numbered([each.prompt for each in graded])
        return cls(prompts, prompt, images.take(first), image, np.array([each.grade for each in graded], float))

    def take(self, numbers: np.ndarray) -> Grades:
        """The graded images with these indices, in the given order, with the same prompts and images."""
        return replace(self, prompt=self.prompt[numbers], image=self.image[numbers], grade=self.grade[numbers])

    def joined(self, other: Grades) -> Grades:
        """These graded images, followed by the other ones."""
        images, image = self.images.joined(other.images)
        prompts, number = numbered([*self.prompts, *other.prompts])
        return Grades(
            prompts,
            np.concatenate([self.prompt, number[len(self.prompts) :][other.prompt]]),
            images,
            np.concatenate([self.image, image[other.image]]),
            np.concatenate([self.grade, other.grade]),
        )


def _upside_down(ranks: np.ndarray, group: np.ndarray) -> np.ndarray:
    """The ranks [M] of the reversed rankings of groups [M], in ascending order; 0, of a place without a rank, stays."""
    if not len(ranks):
        return ranks
    last = np.maximum.reduceat(ranks, np.flatnonzero(np.diff(group, prepend=-1)))[group]
    return np.where(ranks > 0, last + 1 - ranks, 0)


def _preferred(ranks: np.ndarray) -> np.ndarray:
    """Whether each of the rankings [W, n] prefers image i to image j: 1, 0, or a half for a tie [W, n, n]."""
    return (1 + np.sign(ranks[:, None, :] - ranks[:, :, None])) / 2
