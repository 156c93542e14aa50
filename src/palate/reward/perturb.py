"""Perturbed prompts, among which the auxiliary task of Lee et al. 2023 chooses the right one."""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np

CLASSES: tuple[tuple[str, ...], ...] = (
    ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"),
    ("red", "green", "blue", "yellow", "purple", "orange", "pink", "brown", "black", "white", "grey"),
    ("circle", "square", "triangle", "star"),
    ("left", "right"),
    ("above", "below"),
    ("small", "large"),
    ("dog", "cat", "horse", "bird", "rabbit", "cow", "sheep", "tiger", "lion", "bear"),
    ("forest", "city", "beach", "moon", "mountain", "desert", "ocean", "street", "kitchen", "snow"),
)
"""Words that can replace each other; numbers, colours and backgrounds are the categories of Lee et al. 2023."""

PERMUTED = 10_000
"""Up to so many prompts, other prompts are drawn by a random permutation of all; from more, by sampling a few."""

_CLASS_OF = {word: words for words in CLASSES for word in words}
_WORD = re.compile(r"[A-Za-z]+")


class Perturbations:
    """Makes prompts that are similar to those of a data set but not equal.

    Args:
        prompts: all prompts of the data set.

    Reference: Lee et al. 2023 (arXiv:2302.12192), section 3.2.
    """

    def __init__(self, prompts: Iterable[str]) -> None:
        self._place = {prompt: place for place, prompt in enumerate(dict.fromkeys(prompts))}
        self._prompts = tuple(self._place)
        self._known = vocabulary(self._prompts)

    def near(self, prompt: str, n: int, rng: np.random.Generator) -> tuple[str, ...]:
        """n prompts similar to this one: in each, one word is replaced by another of its class.

        If the data set has words of the class, only those are used, so that unusual words do not give the perturbed
        prompts away. If a prompt has too few words of known classes, other prompts of the data set are added.

        Args:
            prompt: the right prompt.
            n: the number of perturbed prompts.
            rng: a generator keyed by the prompt.
        """
        near = [text for match in _WORD.finditer(prompt) for text in _replaced(prompt, match, self._known)]
        chosen = [near[i] for i in rng.permutation(len(near))[:n]]
        chosen += self._others(prompt, n - len(chosen), rng)
        return tuple((chosen or [""]) * n)[:n]

    def _others(self, prompt: str, n: int, rng: np.random.Generator) -> list[str]:
        """Up to n other prompts of the data set."""
        if n <= 0:
            return []
        own = self._place.get(prompt, len(self._prompts))
        total = len(self._prompts) - (prompt in self._place)
        if total <= PERMUTED:
            places = rng.permutation(total)[:n]
        else:
            places = rng.choice(total, min(n, total), replace=False, shuffle=False)
        return [self._prompts[place + (place >= own)] for place in places]


def vocabulary(prompts: Iterable[str]) -> frozenset[str]:
    """The words of known classes that occur in prompts, in the singular."""
    return frozenset(word for prompt in prompts for word in map(_singular, _WORD.findall(prompt.lower())) if word)


def _replaced(prompt: str, match: re.Match[str], known: frozenset[str]) -> list[str]:
    word = _singular(match.group().lower())
    plural = match.group().lower() != word
    if not word:
        return []
    words = [each for each in _CLASS_OF[word] if each != word]
    put = [each for each in words if each in known] or words
    return [prompt[: match.start()] + each + "s" * plural + prompt[match.end() :] for each in put]


def _singular(word: str) -> str:
    """The singular of a word of a known class; empty for any other word."""
    return word if word in _CLASS_OF else word.removesuffix("s") if word.removesuffix("s") in _CLASS_OF else ""
