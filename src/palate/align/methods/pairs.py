"""The part that is common to the methods that learn from pairs.

Their beta has one meaning: errors are means over an image's elements, and the log-ratio of an image is half the
decrease of its error. `palate align convert-beta` converts another code's beta to this one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from palate.align.config import AlignConfig
from palate.align.methods.method import Measured, Method, require_ranked
from palate.core.errors import InputError
from palate.training.config import below_zero, not_above_zero

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from palate.align.examples import Examples
    from palate.records.columns import Rankings


@dataclass(frozen=True, kw_only=True)
class RankedConfig(AlignConfig):
    """Settings of every method that learns from rankings."""

    safeguard: float | None = None
    """Scale down the gradient of each pair's loser so that the winner's error does not rise, to first order: mu of
    Diffusion-SDPO (Fu et al. 2025), from 0 to below 1; 0.9 for SD1.5 and 0.6 for SDXL in the paper."""
    reverse: bool = False
    """Learn every ranking upside down, which makes the negative model of Diffusion-NPO: give it to `palate generate
    --negative-model`."""
    mask: float | None = None
    """Pairs only count where their latents differ by more than this (a standard deviation is about 1), for two images
    that differ on purpose in one place. Needs sets of two images."""

    def problems(self) -> Iterator[str]:
        """See `AlignConfig`."""
        yield from super().problems()
        if self.safeguard is not None and not 0 <= self.safeguard < 1:
            yield f"safeguard must be at least 0 and below 1, or left out, not {self.safeguard}"
        yield from not_above_zero(self, "mask", optional=True)


@dataclass(frozen=True, kw_only=True)
class PreferenceConfig(RankedConfig):
    """Settings of the methods with a Bradley-Terry margin."""

    beta: float = 2000.0
    """Strength of the pull towards the base model, where errors are means and log-ratios have the factor 1/2; 2000 for
    SD1.5 and 5000 for SDXL in Wallace et al. 2023."""
    anchor: float = 0.0
    """Weight of the winner's own error in the loss, which prevents that the model forgets winners; 0 in the paper."""

    def problems(self) -> Iterator[str]:
        """See `AlignConfig`."""
        yield from super().problems()
        if not isinstance(self.beta, str):
            yield from not_above_zero(self, "beta")
        if self.anchor is not None:  # None is the default of a method whose anchor depends on beta
            yield from below_zero(self, "anchor")

    def learning_rate(self) -> float:
        """See `AlignConfig`; for full training multiplied by 2000 / beta, as in the paper (section 5.1)."""
        rate = super().learning_rate()
        fixed = self.lr or self.train == "lora" or isinstance(self.beta, str)
        return rate if fixed else rate * 2000 / self.beta


R = TypeVar("R", bound=RankedConfig)


class Ranked(Method[R]):
    """A method that learns from ranked sets."""

    def __init__(self, config: R) -> None:
        super().__init__(config)
        self.products, self.mask = config.safeguard is not None, config.mask

    def loser_share(self, measured: Measured) -> Tensor | None:
        """The share of the gradient of image j that is kept where i is preferred to it [B, i, j]; None for all."""
        from palate.objectives.safeguard import loser_share

        if self.config.safeguard is None or measured.products is None:
            return None
        error = measured.error.unsqueeze(2).expand_as(measured.products)
        return loser_share(error, measured.products, self.config.safeguard)

    def usable(self, feedback: Rankings) -> Rankings:
        """The feedback as the method learns from it.

        Raises:
            InputError: no set is ranked, or a set has other than two images and the configuration has a mask.
        """
        require_ranked(feedback, self.name)
        if self.mask is not None and (odd := feedback.size[feedback.ranked] != 2).any():
            raise InputError(
                f"mask needs sets of two images, and {odd.sum()} of these {len(odd)} have more; leave it out, or give "
                "pairs"
            )
        return feedback.reversed() if self.config.reverse else feedback


class Pairs(Ranked[R]):
    """A method that learns from every strictly ordered pair of every ranked set."""

    def examples(self, feedback: Rankings) -> Examples:
        """Every pair of images with different ranks."""
        import numpy as np

        from palate.align.examples import Examples

        feedback = self.usable(feedback)
        of_set, pair = feedback.pairs()
        sets, key = np.unique(of_set, return_inverse=True)
        facts = self.facts(feedback, of_set, pair)
        return Examples.of(
            feedback, feedback.prompt[of_set], feedback.image[pair], feedback.keys(sets), key, None, facts
        )

    def facts(self, feedback: Rankings, of_set: np.ndarray, pair: np.ndarray) -> np.ndarray | None:
        """The numbers [N, k] that the loss reads of each pair, which is a set [N] and two of its members [N, 2]."""
        return None

    def roles(self, n: int) -> tuple[str, str]:
        """The roles of the two images."""
        return "winner", "loser"

    def errors(self, measured: Measured) -> tuple[Tensor, Tensor]:
        """The errors of the winners and of the losers [B] each; the losers' with a safeguarded gradient."""
        from palate.objectives.safeguard import with_gradient_share

        winner, loser = measured.error.unbind(1)
        share = self.loser_share(measured)
        return winner, loser if share is None else with_gradient_share(loser, share[:, 0, 1])
