"""Methods that learn from pairs of a winner and a loser: DPO and its links, CPO, MaPO."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from palate.align.examples import Example
from palate.align.methods.method import Measured, Method, ranked
from palate.objectives.cpo import cpo
from palate.objectives.dpo import dpo
from palate.objectives.link import Link
from palate.objectives.mapo import mapo
from palate.prefer.pairs import to_pairs
from palate.records.ranked import RankedSet


@dataclass(frozen=True)
class _Pairs(Method):
    """Every strictly ordered pair of every ranked set."""

    def examples(self, feedback: Sequence[RankedSet]) -> list[Example]:
        """Every pair that a ranking tells apart."""
        pairs = to_pairs(ranked(feedback, self.name))
        return [Example(pair.prompt, (pair.winner, pair.loser), pair.key, pair.weight) for pair in pairs]

    def roles(self, n: int) -> tuple[str, str]:
        """Of the two images."""
        return "winner", "loser"


@dataclass(frozen=True)
class DPO(_Pairs):
    """Diffusion-DPO."""

    beta: float
    anchor: float = 0.0
    link: Link = "sigmoid"
    smoothing: float = 0.0
    name = "dpo"
    reference = True

    def loss(self, measured: Measured) -> tuple[Tensor, dict[str, Tensor]]:
        """As `objectives.dpo`."""
        errors = (*measured.error.unbind(1), *measured.reference.unbind(1))
        return dpo(*errors, beta=self.beta, anchor=self.anchor, link=self.link, smoothing=self.smoothing)


@dataclass(frozen=True)
class CPO(_Pairs):
    """Diffusion-CPO: no reference."""

    beta: float
    anchor: float
    link: Link = "sigmoid"
    smoothing: float = 0.0
    name = "cpo"

    def loss(self, measured: Measured) -> tuple[Tensor, dict[str, Tensor]]:
        """As `objectives.cpo`."""
        error_w, error_l = measured.error.unbind(1)
        return cpo(error_w, error_l, self.beta, self.anchor, self.link, self.smoothing)


@dataclass(frozen=True)
class MaPO(_Pairs):
    """MaPO: no reference."""

    beta: float
    sharpness: float
    name = "mapo"

    def loss(self, measured: Measured) -> tuple[Tensor, dict[str, Tensor]]:
        """As `objectives.mapo`."""
        return mapo(*measured.error.unbind(1), beta=self.beta, sharpness=self.sharpness)
