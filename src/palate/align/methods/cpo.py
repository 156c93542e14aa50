"""Diffusion-CPO: prefer winners over losers, without a reference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from palate.align.methods.dpo import DPOConfig, VotedPairs
from palate.align.methods.method import Measured, Method
from palate.align.methods.voted import with_beta

if TYPE_CHECKING:
    from torch import Tensor

    from palate.objectives.metrics import Metrics


@dataclass(frozen=True, kw_only=True)
class CPOConfig(DPOConfig):
    """Contrastive preference optimisation (Xu et al. 2024, arXiv:2401.08417), applied to diffusion."""

    about: ClassVar[str] = "prefer winners over losers, without a reference"

    anchor: float | None = None  # type: ignore[assignment]  # None is a default that depends on beta
    """Weight of the winner's own error, the only term that keeps the model close to the data. When left out, 5 x beta,
    which is as strong as the likelihood term of Xu et al. 2024, where its weight is 1 and beta is 0.1."""

    def method(self) -> Method[Any]:
        """The objective, and how it reads feedback."""
        return CPO(self)


class CPO(VotedPairs[CPOConfig]):
    """See `CPOConfig`."""

    name = "cpo"

    def loss(self, measured: Measured) -> tuple[Tensor, Metrics]:
        """See `objectives.cpo`."""
        from palate.objectives.cpo import cpo, likelihood_anchor

        (winner, loser), beta = self.errors(measured), self.config.present_beta(measured)
        anchor = likelihood_anchor(beta) if self.config.anchor is None else self.config.anchor
        loss, metrics = cpo(winner, loser, anchor=anchor, **self.link(measured, beta))
        return loss, with_beta(metrics, beta, loss)
