"""Alpha-DPO: DPO with an alpha-divergence, for labels with errors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from palate.align.methods.method import Measured, Method
from palate.align.methods.pairs import Pairs, PreferenceConfig

if TYPE_CHECKING:
    from torch import Tensor

    from palate.objectives.metrics import Metrics


@dataclass(frozen=True, kw_only=True)
class AlphaDPOConfig(PreferenceConfig):
    """Alpha-DPO (ICLR 2026) with a LoRA or all weights."""

    about: ClassVar[str] = "as dpo, with an alpha-divergence: wrong labels pull less"

    alpha: float = 0.9999
    """Which divergence, between 0 (that of DPO) and 1; 0.9999 in the paper."""

    def problems(self) -> Iterator[str]:
        """See `AlignConfig`."""
        yield from super().problems()
        if not 0 < self.alpha < 1:
            yield f"alpha must be above 0 and below 1, not {self.alpha}"

    def method(self) -> Method[Any]:
        """The objective, and how it reads feedback."""
        return AlphaDPO(self)


class AlphaDPO(Pairs[AlphaDPOConfig]):
    """See `AlphaDPOConfig`."""

    name = "alpha_dpo"
    reference = True

    def loss(self, measured: Measured) -> tuple[Tensor, Metrics]:
        """See `objectives.alpha_dpo`; the anchor's term is added."""
        from palate.objectives.alpha_dpo import alpha_dpo

        c, (winner, loser) = self.config, self.errors(measured)
        loss, metrics = alpha_dpo(winner, loser, *measured.reference.unbind(1), beta=c.beta, alpha=c.alpha)
        return loss + c.anchor * winner, metrics
