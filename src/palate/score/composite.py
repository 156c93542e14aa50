"""A weighted sum of scorers, each normalised within a prompt first: `sum:0.7*pickscore+0.3*aesthetic`."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch

from palate.core.errors import InputError
from palate.core.plugins import ScorerFacts
from palate.score.base import Images, score_images, state_digest
from palate.score.load import find_family, load_scorer, refuse_judge
from palate.score.weighted import weighted_z_scores
from palate.score.within_prompt import compares_images

if TYPE_CHECKING:
    from torch import Tensor

    from palate.score.base import Scorer

FAMILY = "sum"
EXAMPLE = f"{FAMILY}:0.7*pickscore+0.3*aesthetic"
BORDER = re.compile(r"\+(?=[^+*:/]*\*)")
"""A plus that a weight follows; others belong to the spec of a part."""
FORMULA = 1
"""Changes when the same parts and weights would give other scores."""


class ScorerPart(NamedTuple):
    """A part of a composite: the spec of a scorer, and what it counts against the others."""

    weight: float
    spec: str


class CompositeScorer:
    """The weighted mean of the z-scores of several scorers among the images of a prompt; higher is better.

    A scorer of which lower is better counts negated. A scorer that is constant within a prompt counts zero there, so
    one image alone in its prompt scores 0. An image without a finite score of a part has none (NaN), and the others of
    its prompt are compared without it. Scores have no gradient.

    Args:
        argument: weights above zero and specs, `<weight>*<spec>+<weight>*<spec>`; only their ratio matters.
        device: the device of the parts.

    Attributes:
        parts: the scorers, in order.

    Raises:
        InputError: see `scorer_parts`, `load_scorer`; or a part compares images itself.

    Reference: Liu et al. 2026 (GDPO, arXiv:2601.05242); see `weighted_z_scores`.
    """

    facts = ScorerFacts(
        title="a weighted mean of other scorers, each normalised within the prompt first",
        values="0 is the average of the prompt's images; compares images of one prompt only",
        licence="those of its parts",
        size="its parts",
        source="Liu et al. 2026 (GDPO), arXiv:2601.05242",
    )
    higher_is_better = True
    differentiable = False
    reads_prompt = True
    within_prompt = True

    def __init__(self, argument: str, device: str) -> None:
        self.name, found = f"{FAMILY}:{argument}", scorer_parts(argument)
        self.weights = [part.weight for part in found]
        self.parts: list[Scorer] = []
        for part in found:
            self.parts.append(scorer := load_scorer(part.spec, device))
            if compares_images(scorer):
                raise _error(argument, f"{part.spec!r} compares images itself and cannot be a part; name its parts")

    @property
    def repeated(self) -> int:
        """Requests that the parts had to repeat."""
        return sum(getattr(part, "repeated", 0) for part in self.parts)

    def fingerprint(self) -> str:
        """A digest of the parts and their weights; see `Scorer`."""
        kinds = [(type(part).__qualname__, part.fingerprint()) for part in self.parts]
        return state_digest({}, FORMULA, self.weights, kinds)

    def __call__(self, images: Images, prompts: Sequence[str]) -> Tensor:
        """Scores [B], where the images of a prompt are compared with each other; see `Scorer`."""
        return torch.tensor(self.combine([score_images(part, images, prompts) for part in self.parts], prompts))

    def combine(self, columns: Sequence[Sequence[float]], prompts: Sequence[str]) -> list[float]:
        """The scores [B] from the scores [B] of each part.

        Args:
            columns: the scores of each part, in order.
            prompts: B prompts; images of equal prompts are compared with each other.
        """
        signs = [1 if part.higher_is_better else -1 for part in self.parts]
        groups: dict[str, list[int]] = {}
        for place, prompt in enumerate(prompts):
            if all(math.isfinite(scores[place]) for scores in columns):
                groups.setdefault(prompt, []).append(place)
        found = [math.nan] * len(prompts)
        for places in groups.values():
            signed = [[sign * scores[place] for place in places] for sign, scores in zip(signs, columns)]
            for place, value in zip(places, weighted_z_scores(signed, self.weights)):
                found[place] = value
        return found


def scorer_parts(argument: str) -> list[ScorerPart]:
    """The parts of a composite, from the text after `sum:`. Nothing is loaded.

    Raises:
        InputError: a part has no weight or one that is not a number above zero, is no scorer, occurs twice, is a judge
            of results or a composite.

    >>> scorer_parts("0.7*pickscore+0.3*aesthetic")
    [ScorerPart(weight=0.7, spec='pickscore'), ScorerPart(weight=0.3, spec='aesthetic')]
    """
    found = [_part(argument, text) for text in BORDER.split(argument)]
    specs = [part.spec for part in found]
    for spec in specs:
        if spec.partition(":")[0] == FAMILY:
            raise _error(argument, f"{spec!r} is itself a sum; name its parts")
        try:
            find_family(spec)
        except InputError as error:
            raise _error(argument, str(error)) from error
        refuse_judge(spec, f"be a part of {FAMILY}")
        if specs.count(spec) > 1:
            raise _error(argument, f"{spec!r} occurs twice; add its weights up")
    return found


def _part(argument: str, text: str) -> ScorerPart:
    weight, star, spec = (each.strip() for each in text.partition("*"))
    if not star or not spec:
        raise _error(argument, f"{text!r} is not <weight>*<scorer>; write it as in {EXAMPLE}")
    try:
        value = float(weight)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise _error(argument, f"the weight of {spec!r} must be a number above zero, not {weight!r}")
    return ScorerPart(value, spec)


def _error(argument: str, why: str) -> InputError:
    return InputError(f"{FAMILY}:{argument}: {why}")
