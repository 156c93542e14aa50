"""The part that is common to DPO, CPO and listwise: a beta that adjusts itself, and soft votes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from palate.align.methods.method import Measured
from palate.align.methods.pairs import PreferenceConfig
from palate.core.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from palate.objectives.metrics import Metrics
    from palate.records.columns import Rankings

BETA_MEMORY = 0.99
"""Decay of the moving average of the margins' size over steps, as in SimpleTuner."""


@dataclass(frozen=True, kw_only=True)
class VotedConfig(PreferenceConfig):
    """Settings of the methods whose loss is the log-likelihood of votes."""

    beta: float | Literal["auto"] = 2000.0  # type: ignore[assignment]
    """Strength of the pull towards the base model, where errors are means and log-ratios have the factor 1/2; 2000 for
    SD1.5 and 5000 for SDXL in Wallace et al. 2023. With auto it follows the size of the margins, see beta_target."""
    beta_target: float = 0.2
    """With beta auto: the factor of DPO's gradient, sigmoid(-margin), of a pair with a margin of average size; 0.2 in
    SimpleTuner."""

    def problems(self) -> Iterator[str]:
        """See `AlignConfig`."""
        yield from super().problems()
        if not 0 < self.beta_target < 0.5:
            yield f"beta_target must be above 0 and below 0.5, not {self.beta_target}"

    @property
    def memory(self) -> float:
        """The `Method.memory` of the configuration."""
        return BETA_MEMORY if self.beta == "auto" else 0.0

    def present_beta(self, measured: Measured) -> float | Tensor:
        """The beta of a step: the configured one, or a scalar that adjusts itself."""
        from palate.objectives.auto_beta import auto_beta

        if isinstance(self.beta, str):
            return auto_beta(measured.mean, self.beta_target).to(measured.error.device)
        return self.beta


def with_beta(metrics: Metrics, beta: float | Tensor, like: Tensor) -> Metrics:
    """The metrics with a beta that adjusts itself [B], if it does; `like` is [B]."""
    return metrics if isinstance(beta, (int, float)) else {**metrics, "beta": beta.expand_as(like).detach()}


def require_shares(feedback: Rankings, name: str) -> None:
    """Raises InputError unless every ranked set has votes, and the raters of some pair differ.

    Args:
        feedback: the sets.
        name: name of the method, for the message.
    """
    import numpy as np

    sets = np.flatnonzero(feedback.has_preference)
    votes = np.bincount(feedback.voted, minlength=len(feedback))[sets]
    fix = "leave soft_votes out, or give preferences with each rater's votes, such as those of `palate collect export`"
    if not votes.all():
        lacking = int((votes == 0).sum())
        raise InputError(
            f"soft votes need the raters' votes, and {lacking} of {len(sets)} ranked sets have none; {fix}"
        )
    if len(votes) and votes.max() == 1:
        raise InputError(f"soft votes need several raters, and every set has one vote, so {name} is the same; {fix}")


def winner_shares(feedback: Rankings, of_set: np.ndarray, pair: np.ndarray) -> np.ndarray:
    """The share of the raters who prefer the winner of each pair [N], ties as halves.

    Args:
        feedback: the sets, all with votes.
        of_set: the index of the set of each pair, in ascending order [N].
        pair: the members of each pair [N, 2], the winner first.
    """
    import numpy as np

    share = np.empty(len(of_set))
    first = feedback.start[of_set]
    sizes = feedback.size[of_set]
    for n in np.unique(sizes):
        rows = np.flatnonzero(sizes == n)
        sets, where = np.unique(of_set[rows], return_inverse=True)
        place = pair[rows] - first[rows, None]
        share[rows] = feedback.shares(sets, int(n))[where, place[:, 0], place[:, 1]]
    return share
