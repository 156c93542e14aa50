"""MaPO: increase the margin of winners over losers, without a reference."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from palate.align.methods.method import Measured, Method
from palate.align.methods.pairs import Pairs, RankedConfig
from palate.training.config import not_above_zero

if TYPE_CHECKING:
    from torch import Tensor

    from palate.objectives.metrics import Metrics


@dataclass(frozen=True, kw_only=True)
class MaPOConfig(RankedConfig):
    """MaPO (Hong et al. 2024, arXiv:2406.06424) with a LoRA or all weights."""

    about: ClassVar[str] = "increase the margin of winners over losers, without a reference"

    beta: float = 0.1
    """Weight of the margin relative to the winner's own error; 0.1 in the paper's code. This is not DPO's beta."""
    sharpness: float = 1000.0
    """Factor of the margin; 1000 in the paper's code. Use less if errors differ by more than the thousandths of Stable
    Diffusion."""

    def problems(self) -> Iterator[str]:
        """See `AlignConfig`."""
        yield from super().problems()
        yield from not_above_zero(self, "beta", "sharpness")

    def method(self) -> Method[Any]:
        """The objective, and how it reads feedback."""
        return MaPO(self)


class MaPO(Pairs[MaPOConfig]):
    """See `MaPOConfig`."""

    name = "mapo"

    def loss(self, measured: Measured) -> tuple[Tensor, Metrics]:
        """See `objectives.mapo`."""
        from palate.objectives.mapo import mapo

        return mapo(*self.errors(measured), beta=self.config.beta, sharpness=self.config.sharpness)
