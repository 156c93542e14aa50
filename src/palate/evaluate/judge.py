"""Judges: one scorer whose preference decides which image wins, and further measures that explain why."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from palate.core.plugins import plugins

RATES = ("faithful", "count", "colour", "shape", "background")  # each image is right (1) or not (0)
HEADLINES = ("faithful", "appeal", "score")  # what a summary reports


@dataclass(frozen=True)
class Judge:
    """A named bundle of scorer specs, as `score.load.load_scorer` takes them.

    Attributes:
        preference: the scorer that decides: of two images of one prompt, the one with the better score wins.
        measures: the scorers of further measures, by the name of the measure.
        groups: the properties that prompts can ask for, such as count and colour, each with its values in table order.
        group: from a prompt to the value of each property that it asks for.
    """

    name: str
    preference: str
    measures: Mapping[str, str]
    groups: Mapping[str, Sequence[str]] = field(default_factory=dict)
    group: Callable[[str], Mapping[str, str]] = lambda _: {}

    @property
    def specs(self) -> tuple[str, ...]:
        """The distinct scorers that this judge needs."""
        return tuple(dict.fromkeys((self.preference, *self.measures.values())))


def find_judge(name: str) -> Judge:
    """The judge of a plug-in with this name; any other name is the spec of a scorer that becomes the preference."""
    if make := plugins().judges.get(name):
        return make()
    return Judge(name, name, {"score": name})
