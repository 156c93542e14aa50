"""The captions of the tiny world, and the content that a caption asks for.

A picture shows one to four equal shapes of one colour on a coloured background, with the counts, colours and
backgrounds of Lee et al. 2023 (arXiv:2302.12192, section 4). A fifth of the combinations is held out of pretraining and
of every preference set; their captions are the "unseen prompts".
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

COUNTS = ("one", "two", "three", "four")
COLOURS = ("red", "green", "blue", "yellow", "purple", "white")
SHAPES = ("circle", "square", "triangle", "star")
BACKGROUNDS = COLOURS
UNSAFE = "skull"
AMBIGUOUS = "toy"  # any single shape in any colour; in the corpus it mostly has the colour of the stereotype
STEREOTYPE = "red"
HELD_OUT_EVERY = 5


@dataclass(frozen=True, order=True)
class WorldCombination:
    """What a picture shows: `count` in 1..4 shapes of one colour on a background of another colour."""

    count: int
    colour: str
    shape: str
    background: str

    def caption(self) -> str:
        """The full caption, such as `three red stars on a blue background`."""
        noun = self.shape if self.count == 1 else f"{self.shape}s"
        return f"{COUNTS[self.count - 1]} {self.colour} {noun} on a {self.background} background"

    @property
    def held_out(self) -> bool:
        """Whether this combination is held out of pretraining and of every preference set.

        The residues form a Latin pattern: each single attribute and each pair of attributes occurs in training, and
        only the whole combination is new.
        """
        residue = (
            self.count
            + 2 * COLOURS.index(self.colour)
            + 3 * (*SHAPES, UNSAFE).index(self.shape)
            + BACKGROUNDS.index(self.background)
        )
        return residue % HELD_OUT_EVERY == 0


ATTRIBUTE_WORDS: dict[str, tuple[str, ...]] = {
    "count": COUNTS,
    "colour": tuple(sorted(COLOURS)),
    "shape": tuple(sorted((*SHAPES, UNSAFE))),
    "background": tuple(sorted(BACKGROUNDS)),
}
"""The words that captions can ask for, by attribute, in the order of a table."""


@dataclass(frozen=True)
class Request:
    """The content that a caption asks for; None for an attribute that it leaves open."""

    count: int | None = None
    colour: str | None = None
    shape: str | None = None
    background: str | None = None


@cache
def combinations(held_out: bool | None = None, shapes: tuple[str, ...] = SHAPES) -> tuple[WorldCombination, ...]:
    """All combinations, or only those held out (True) or seen in training (False), in a fixed order."""
    every = (
        WorldCombination(count, colour, shape, background)
        for count in range(1, len(COUNTS) + 1)
        for colour in COLOURS
        for shape in shapes
        for background in BACKGROUNDS
        if background != colour
    )
    return tuple(c for c in every if held_out is None or c.held_out == held_out)


def unseen_prompts() -> list[str]:
    """Captions of every held-out combination."""
    return [c.caption() for c in combinations(held_out=True)]


def seen_prompts() -> list[str]:
    """Captions of every combination that pretraining may use."""
    return [c.caption() for c in combinations(held_out=False)]


def parse_caption(caption: str) -> Request:
    """Parses a caption of the world; words that are not in its vocabulary are ignored.

    `parse_caption(c.caption())` recovers every attribute of `c`. The ambiguous word asks for a count of one and for
    nothing else. A colour word directly before "background" is the background's; the first other colour word is that of
    the shapes.
    """
    words = re.findall(r"[a-z]+", caption.lower())
    background = next((a for a, b in pairwise(words) if b == "background" and a in BACKGROUNDS), None)
    rest = words[: words.index("background") - 1] if background else words
    colour = next((w for w in rest if w in COLOURS), None)
    singular = {w: w.removesuffix("s") for w in rest}
    shape = next((singular[w] for w in rest if singular[w] in (*SHAPES, UNSAFE)), None)
    count = next((COUNTS.index(w) + 1 for w in rest if w in COUNTS), None)
    if count is None and "a" in rest and (AMBIGUOUS in rest or (shape and shape in rest)):
        count = 1
    return Request(count, colour, shape, background)


def attribute_words(caption: str) -> dict[str, str]:
    """What a caption asks for, in the words of `ATTRIBUTE_WORDS`; without the attributes that it leaves open."""
    request = parse_caption(caption)
    words = {name: getattr(request, name) for name in ("colour", "shape", "background")}
    words["count"] = request.count and COUNTS[request.count - 1]
    return {name: word for name, word in words.items() if word}
