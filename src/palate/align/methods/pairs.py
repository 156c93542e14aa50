"""What the methods with a Bradley-Terry margin share.

Beta has one meaning wherever a method has `dpo`'s: errors are means over an image's elements, and the log-ratio of an
image is half of how much its error fell. `palate align convert-beta` turns another code's beta into this one.
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
    """What the methods with a Bradley-Terry margin share."""

    beta: float = 2000.0
    """Pull towards the base model, on errors that are means and log-ratios with the half; 2000 for SD1.5 and 5000 for
    SDXL in Wallace et al. 2023."""
    anchor: float = 0.0
    """Weight of the winner's own error in the loss, which keeps winners from being unlearned; 0 in the paper."""

    def problems(self) -> Iterator[str]:
        """As of `AlignConfig`."""
        yield from super().problems()
        yield from not_above_zero(self, "beta")
        if self.anchor is not None:  # of a method whose default depends on beta
            yield from below_zero(self, "anchor")

    def learning_rate(self) -> float:
        """As every method's; for full training times 2000 / beta, as the paper scales it (section 5.1)."""
        rate = super().learning_rate()
        return rate if self.lr or self.train == "lora" else rate * 2000 / self.beta


class Pairs(Method[C]):
    """A method that learns from every strictly ordered pair of every ranked set."""

    def examples(self, feedback: Rankings) -> Examples:
        """Every pair that a ranking tells apart."""
        import numpy as np

        from palate.align.examples import Examples

        require_ranked(feedback, self.name)
        of_set, pair = feedback.pairs()
        sets, key = np.unique(of_set, return_inverse=True)
        return Examples.of(feedback, feedback.prompt[of_set], feedback.image[pair], feedback.keys(sets), key)

    def roles(self, n: int) -> tuple[str, str]:
        """Of the two images."""
        return "winner", "loser"
