"""Diffusion-DPO: prefer winners over losers, staying close to the base model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar

from palate.align.methods.method import Measured, Method
from palate.align.methods.pairs import Pairs
from palate.align.methods.voted import VotedConfig, require_shares, winner_shares, with_beta

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from palate.objectives.metrics import Metrics
    from palate.records.columns import Rankings


@dataclass(frozen=True, kw_only=True)
class DPOConfig(VotedConfig):
    """Diffusion-DPO (Wallace et al. 2023, arXiv:2311.12908) with a LoRA or all weights."""

    about: ClassVar[str] = "prefer winners over losers, staying close to the base model"

    link: Literal["sigmoid", "hinge", "ipo"] = "sigmoid"
    """How a margin becomes a loss: sigmoid as published, hinge (SLiC) or ipo (Azar et al. 2023)."""
    smoothing: float = 0.0
    """Share of pairs that are assumed to be ranked wrongly, below 0.5 (conservative DPO)."""
    soft_votes: Literal["labels", "margins"] | None = None
    """Count a pair by the share p of its raters who prefer the winner: labels gives each pair the smoothing 1 - p,
    margins multiplies its beta by 10 (2p - 1), as SmPO (Lu et al. 2025)."""

    def problems(self) -> Iterator[str]:
        """See `AlignConfig`."""
        yield from super().problems()
        if not 0 <= self.smoothing < 0.5:
            yield f"smoothing must be at least 0 and below 0.5, not {self.smoothing}"
        if self.smoothing and self.soft_votes == "labels":
            yield "soft_votes labels gives each pair its own smoothing; leave smoothing out"
        if self.beta == "auto" and self.link != "sigmoid":
            yield f"beta auto is for the link sigmoid, not {self.link}; give a number"

    def method(self) -> Method[Any]:
        """The objective, and how it reads feedback."""
        return DPO(self)


D = TypeVar("D", bound=DPOConfig)


class VotedPairs(Pairs[D]):
    """What DPO and CPO do with pairs and the votes on them."""

    def __init__(self, config: D) -> None:
        super().__init__(config)
        self.memory = config.memory

    def facts(self, feedback: Rankings, of_set: np.ndarray, pair: np.ndarray) -> np.ndarray | None:
        """With soft votes the share of the raters who prefer the winner [N, 1]."""
        if not self.config.soft_votes:
            return None
        require_shares(feedback, self.name)
        return winner_shares(feedback, of_set, pair)[:, None]

    def link(self, measured: Measured, beta: float | Tensor) -> dict[str, Any]:
        """The arguments `beta`, `link` and `smoothing` of an objective, with soft votes for each pair [B]."""
        from palate.objectives.soft_votes import soft_beta

        c = self.config
        if c.soft_votes == "labels":
            return {"beta": beta, "link": c.link, "smoothing": 1 - measured.facts.squeeze(1)}
        if c.soft_votes == "margins":
            beta = soft_beta(beta, measured.facts.squeeze(1))
        return {"beta": beta, "link": c.link, "smoothing": c.smoothing}

    def statistic(self, measured: Measured) -> Tensor:
        """The size of the margin at a beta of 1."""
        from palate.objectives.error import log_ratio

        reference = measured.reference if self.reference else measured.error.new_zeros(measured.error.shape)
        winner, loser = log_ratio(measured.error, reference).unbind(1)
        return (winner - loser).abs()


class DPO(VotedPairs[DPOConfig]):
    """See `DPOConfig`."""

    name = "dpo"
    reference = True

    def loss(self, measured: Measured) -> tuple[Tensor, Metrics]:
        """See `objectives.dpo`."""
        from palate.objectives.dpo import dpo

        winner, loser = self.errors(measured)
        beta, (winner_ref, loser_ref) = self.config.present_beta(measured), measured.reference.unbind(1)
        options = self.link(measured, beta)
        loss, metrics = dpo(winner, loser, winner_ref, loser_ref, anchor=self.config.anchor, **options)
        return loss, with_beta(metrics, beta, loss)
