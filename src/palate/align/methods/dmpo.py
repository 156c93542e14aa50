"""DMPO: DPO with the reverse divergence, which seeks one mode and is bounded."""

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
class DMPOConfig(PreferenceConfig):
    """Divergence minimisation preference optimisation (arXiv:2507.07510) with a LoRA or all weights."""

    about: ClassVar[str] = "as dpo, with the reverse divergence: wrong labels pull less"

    alpha: float = 0.01
    """Probability that a label is wrong, below 0.5; 0.01 in the paper."""

    def problems(self) -> Iterator[str]:
        """See `AlignConfig`."""
        yield from super().problems()
        if not 0 < self.alpha < 0.5:
            yield f"alpha must be above 0 and below 0.5, not {self.alpha}"

    def method(self) -> Method[Any]:
        """The objective, and how it reads feedback."""
        return DMPO(self)


class DMPO(Pairs[DMPOConfig]):
    """See `DMPOConfig`."""

    name = "dmpo"
    reference = True

    def loss(self, measured: Measured) -> tuple[Tensor, Metrics]:
        """See `objectives.dmpo`; the anchor's term is added."""
        from palate.objectives.dmpo import dmpo

        c, (winner, loser) = self.config, self.errors(measured)
        loss, metrics = dmpo(winner, loser, *measured.reference.unbind(1), beta=c.beta, alpha=c.alpha)
        return loss + c.anchor * winner, metrics
