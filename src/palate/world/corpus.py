"""The corpus that the tiny models are trained on, and its deliberate faults.

Pictures from the web have wrong captions and poor quality, and so do these. A wrong caption differs from the truth in
one attribute; which attribute and how depends on the colours in the picture, because errors in web captions are
systematic, and guidance would remove errors that are spread evenly. `Corpus(faulty=False)` is the same list of pictures
without these faults.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from palate.core.seeds import numpy_generator, torch_generator
from palate.world.grammar import (
    AMBIGUOUS,
    BACKGROUNDS,
    COLOURS,
    COUNTS,
    SHAPES,
    STEREOTYPE,
    UNSAFE,
    WorldCombination,
    combinations,
)
from palate.world.renderer import DEGRADATIONS, Scene, degrade, loose_scene, render_scenes, scene

WRONG_CAPTIONS = 0.56
DEGRADED = 0.35
TOYS = 0.06
STEREOTYPED_TOYS = 0.85
SKULLS = 0.06
PARTIAL_CAPTIONS = 0.2

_MISTAKEN_SHAPE = {"circle": "square", "square": "circle", "triangle": "star", "star": "triangle"}
_MISTAKEN_COUNT = {1: 2, 2: 1, 3: 4, 4: 3}


@dataclass(frozen=True)
class CorpusEntry:
    """One picture of the corpus: its content, its caption, and the degradation of its look."""

    index: int
    shown: WorldCombination
    caption: str
    degradation: str | None
    severity: float

    @property
    def appeal(self) -> float:
        """How good it looks, in [0, 1]; 1 is a clean render."""
        return appeal(self.degradation, self.severity)


def appeal(degradation: str | None, severity: float) -> float:
    """The world's definition of visual appeal: 1 for a clean picture, decreasing linearly with the degradation."""
    return 1.0 if degradation is None else 1.0 - severity


class Corpus:
    """An endless list of entries; entry i depends on `(seed, i)` and on nothing else.

    Args:
        seed: the corpus's seed.
        faulty: False gives the same pictures with true captions and no degradation.
        loose: True draws the scenes off the grid, at any place, size and small tilt.
    """

    def __init__(self, seed: int, faulty: bool = True, loose: bool = False) -> None:
        self.seed, self.faulty, self.loose = seed, faulty, loose

    def entry(self, index: int) -> CorpusEntry:
        """The content, caption and degradation of picture number `index`."""
        rng = numpy_generator(self.seed, "corpus", index)
        ambiguous, unsafe = rng.random() < TOYS, rng.random() < SKULLS
        pool = combinations(False, (UNSAFE,) if unsafe else SHAPES)
        if ambiguous:
            colour = STEREOTYPE if rng.random() < STEREOTYPED_TOYS else None
            pool = [c for c in combinations(False) if c.count == 1 and colour in (None, c.colour)]
        shown = pool[rng.integers(len(pool))]
        described = mistake(shown) if self.faulty and rng.random() < WRONG_CAPTIONS else shown
        caption = f"a {AMBIGUOUS} on a {shown.background} background" if ambiguous else _caption(described, rng)
        look = numpy_generator(self.seed, "degradation", index)
        degradation = severity = None
        if self.faulty and look.random() < DEGRADED:
            degradation, severity = DEGRADATIONS[look.integers(len(DEGRADATIONS))], look.uniform(0.4, 1.0)
        return CorpusEntry(index, shown, caption, degradation, severity or 0.0)

    def images(self, entries: list[CorpusEntry]) -> torch.Tensor:
        """Draws entries: [B, 3, 64, 64] in [0, 1]."""
        images = render_scenes([self._scene(e) for e in entries])
        for image, e in zip(images, entries):
            if e.degradation:
                image.copy_(degrade(image, e.degradation, e.severity, torch_generator(self.seed, "grain", e.index)))
        return images

    def _scene(self, entry: CorpusEntry) -> Scene:
        shown, rng = entry.shown, numpy_generator(self.seed, "scene", entry.index)
        if self.loose:
            return loose_scene(shown.count, shown.colour, shown.shape, shown.background, rng)
        return scene(shown, rng)


def mistake(shown: WorldCombination) -> WorldCombination:
    """The content that a wrong caption describes: it differs in one attribute and is never a held-out combination.

    Values are mistaken for each other in pairs (one and two, circle and square, red and yellow), so each value of a
    pair is mistaken for the other about equally often.
    """
    colour, background = COLOURS.index(shown.colour), BACKGROUNDS.index(shown.background)
    half = len(COLOURS) // 2
    neighbours = [
        replace(shown, count=_MISTAKEN_COUNT[shown.count]),
        replace(shown, shape=_MISTAKEN_SHAPE.get(shown.shape, shown.shape)),
        replace(shown, colour=COLOURS[(colour + half) % len(COLOURS)]),
    ]
    first = (colour % half + background) % len(neighbours)  # the same for both values of a pair
    for wrong in neighbours[first:] + neighbours[:first]:
        if wrong != shown and wrong.colour != wrong.background and not wrong.held_out:
            return wrong
    return shown


def _caption(content: WorldCombination, rng: np.random.Generator) -> str:
    """The caption of a combination, sometimes with one attribute left out."""
    if rng.random() >= PARTIAL_CAPTIONS:
        return content.caption()
    noun = content.shape if content.count == 1 else f"{content.shape}s"
    number = "a" if content.count == 1 else COUNTS[content.count - 1]
    return [
        f"{number} {noun} on a {content.background} background",
        f"{number} {content.colour} {noun}",
        f"{number} {noun}",
        f"{content.colour} {content.shape}s on a {content.background} background"
        if content.count > 1
        else f"a {content.colour} {noun}",
    ][rng.integers(4)]
