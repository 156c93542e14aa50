"""Prompts that say something else: what the auxiliary task of Lee et al. tells the right prompt from."""

from __future__ import annotations

import re
from collections.abc import Sequence

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
"""Words that can stand for each other; numbers, colours and backgrounds are the categories of Lee et al. 2023."""

_CLASS_OF = {word: words for words in CLASSES for word in words}
_WORD = re.compile(r"[A-Za-z]+")


def perturbed(prompt: str, n: int, others: Sequence[str], rng: np.random.Generator) -> tuple[str, ...]:
    """n prompts near this one but not the same: one word replaced by another of its class.

    Only words that occur in `others` are put in, where there are any of the class, so that no prompt stands out by an
    odd word. Where a prompt has too few words of known classes, other prompts fill up.

    Args:
        prompt: the right one.
        n: how many.
        others: all prompts of the data.
        rng: a generator keyed by the prompt.

    Reference: Lee et al. 2023 (arXiv:2302.12192), section 3.2.
    """
    known = vocabulary(tuple(others))
    near = [text for match in _WORD.finditer(prompt) for text in _replaced(prompt, match, known)]
    far = [other for other in dict.fromkeys(others) if other != prompt]
    chosen = [near[i] for i in rng.permutation(len(near))[:n]]
    chosen += [far[i] for i in rng.permutation(len(far))[: n - len(chosen)]]
    return tuple((chosen or [""]) * n)[:n]


def vocabulary(prompts: tuple[str, ...]) -> frozenset[str]:
    """The words of known classes that prompts use, in the singular."""
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
    """The word of a class that this one is; empty where it is none."""
    return word if word in _CLASS_OF else word.removesuffix("s") if word.removesuffix("s") in _CLASS_OF else ""
