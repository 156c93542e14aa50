"""The part that is common to the methods with a Bradley-Terry margin.

Their beta has one meaning: errors are means over an image's elements, and the log-ratio of an image is half the
decrease of its error. `palate align convert-beta` converts another code's beta to this one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from palate.align.config import AlignConfig
from palate.align.methods.method import Method, require_ranked
from palate.training.config import below_zero, not_above_zero

if TYPE_CHECKING:
    from palate.align.examples import Examples
    from palate.records.columns import Rankings

C = TypeVar("C", bound=AlignConfig)


@dataclass(frozen=True, kw_only=True)
class PreferenceConfig(AlignConfig):
    """Settings of the methods with a Bradley-Terry margin."""

    beta: float = 2000.0
    """Strength of the pull towards the base model, where errors are means and log-ratios have the factor 1/2; 2000 for
    SD1.5 and 5000 for SDXL in Wallace et al. 2023."""
    anchor: float = 0.0
    """Weight of the winner's own error in the loss, which prevents that the model forgets winners; 0 in the paper."""

    def problems(self) -> Iterator[str]:
        """See `AlignConfig`."""
        yield from super().problems()
        yield from not_above_zero(self, "beta")
        if self.anchor is not None:  # None is the default of a method whose anchor depends on beta
            yield from below_zero(self, "anchor")

    def learning_rate(self) -> float:
        """See `AlignConfig`; for full training multiplied by 2000 / beta, as in the paper (section 5.1)."""
        rate = super().learning_rate()
        return rate if self.lr or self.train == "lora" else rate * 2000 / self.beta


class Pairs(Method[C]):
    """A method that learns from every strictly ordered pair of every ranked set."""

    def examples(self, feedback: Rankings) -> Examples:
        """Every pair of images with different ranks."""
        import numpy as np

        from palate.align.examples import Examples

        require_ranked(feedback, self.name)
        of_set, pair = feedback.pairs()
        sets, key = np.unique(of_set, return_inverse=True)
        return Examples.of(feedback, feedback.prompt[of_set], feedback.image[pair], feedback.keys(sets), key)

    def roles(self, n: int) -> tuple[str, str]:
        """The roles of the two images."""
        return "winner", "loser"
