"""Diffusion-DPO: prefer winners over losers, staying close to the base model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from palate.align.methods.method import Measured, Method
from palate.align.methods.pairs import Pairs, PreferenceConfig

if TYPE_CHECKING:
    from torch import Tensor

    from palate.objectives.metrics import Metrics


@dataclass(frozen=True, kw_only=True)
class DPOConfig(PreferenceConfig):
    """Diffusion-DPO (Wallace et al. 2023, arXiv:2311.12908) with a LoRA or all weights."""

    about: ClassVar[str] = "prefer winners over losers, staying close to the base model"

    link: Literal["sigmoid", "hinge", "ipo"] = "sigmoid"
    """How a margin becomes a loss: sigmoid as published, hinge (SLiC) or ipo (Azar et al. 2023)."""
    smoothing: float = 0.0
    """Share of pairs that are assumed to be ranked wrongly, below 0.5 (conservative DPO)."""

    def problems(self) -> Iterator[str]:
        """See `AlignConfig`."""
        yield from super().problems()
        if not 0 <= self.smoothing < 0.5:
            yield f"smoothing must be at least 0 and below 0.5, not {self.smoothing}"

    def method(self) -> Method[Any]:
        """The objective, and how it reads feedback."""
        return DPO(self)


class DPO(Pairs[DPOConfig]):
    """See `DPOConfig`."""

    name = "dpo"
    reference = True

    def loss(self, measured: Measured) -> tuple[Tensor, Metrics]:
        """See `objectives.dpo`."""
        from palate.objectives.dpo import dpo

        c, errors = self.config, (*measured.error.unbind(1), *measured.reference.unbind(1))
        return dpo(*errors, beta=c.beta, anchor=c.anchor, link=c.link, smoothing=c.smoothing)
