"""Linear-DPO: a linear weight instead of a sigmoid, and a reference that follows the model in training."""

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
class LinearDPOConfig(PreferenceConfig):
    """Linear-DPO (arXiv:2605.21123) with a LoRA or all weights."""

    about: ClassVar[str] = "as dpo, with a linear weight and a reference that follows the model"

    beta: float = 100.0
    """How fast a pair's weight falls with its margin; 100 for SD1.5 and 500 for SDXL in the paper."""
    floor: float = 1e-3
    """Smallest weight of a pair, below 0.5; 1e-3 for SD1.5 and 0 for SDXL in the paper."""
    reference_ema: float = 0.99
    """Decay of the moving average of the trained weights that is the reference: 0.95 to 0.995 for SD1.5 in the paper,
    at the cost of one more forward pass at each step. With 0, as for SDXL, it is the base model."""

    def problems(self) -> Iterator[str]:
        """See `AlignConfig`."""
        yield from super().problems()
        if not 0 <= self.floor < 0.5:
            yield f"floor must be at least 0 and below 0.5, not {self.floor}"
        if not 0 <= self.reference_ema < 1:
            yield f"reference_ema must be at least 0 and below 1, not {self.reference_ema}"

    def method(self) -> Method[Any]:
        """The objective, and how it reads feedback."""
        return LinearDPO(self)


class LinearDPO(Pairs[LinearDPOConfig]):
    """See `LinearDPOConfig`."""

    name = "linear_dpo"
    reference = True

    def __init__(self, config: LinearDPOConfig) -> None:
        super().__init__(config)
        self.follows = config.reference_ema

    def loss(self, measured: Measured) -> tuple[Tensor, Metrics]:
        """See `objectives.linear_dpo`; the anchor's term is added."""
        from palate.objectives.linear_dpo import linear_dpo

        c, (winner, loser) = self.config, self.errors(measured)
        loss, metrics = linear_dpo(winner, loser, *measured.reference.unbind(1), beta=c.beta, floor=c.floor)
        return loss + c.anchor * winner, metrics
