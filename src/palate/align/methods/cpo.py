"""Diffusion-CPO: prefer winners over losers, without a reference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from palate.align.methods.dpo import DPOConfig
from palate.align.methods.method import Measured, Method
from palate.align.methods.pairs import Pairs

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


class CPO(Pairs[CPOConfig]):
    """See `CPOConfig`."""

    name = "cpo"

    def loss(self, measured: Measured) -> tuple[Tensor, Metrics]:
        """See `objectives.cpo`."""
        from palate.objectives.cpo import cpo, likelihood_anchor

        c, (error_w, error_l) = self.config, measured.error.unbind(1)
        anchor = likelihood_anchor(c.beta) if c.anchor is None else c.anchor
        return cpo(error_w, error_l, c.beta, anchor, c.link, c.smoothing)
