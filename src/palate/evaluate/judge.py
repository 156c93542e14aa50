"""What a judge is: one scorer whose preference decides who wins, and the measures that say why."""

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
        preference: of two images of one prompt, the one that this scorer puts higher wins.
        measures: what is read off each image beside the preference, by name.
        groups: what prompts can ask for, such as counts and colours, each with its values in the order of a table.
        group: from a prompt to the value of each of these that it asks for.
    """

    name: str
    preference: str
    measures: Mapping[str, str]
    groups: Mapping[str, Sequence[str]] = field(default_factory=dict)
    group: Callable[[str], Mapping[str, str]] = lambda _: {}

    @property
    def specs(self) -> tuple[str, ...]:
        """Every scorer that this judge needs, each once."""
        return tuple(dict.fromkeys((self.preference, *self.measures.values())))


def find_judge(name: str) -> Judge:
    """The judge of a name that a plug-in brings; any other name is a scorer spec that is its own preference."""
    if make := plugins().judges.get(name):
        return make()
    return Judge(name, name, {"score": name})
