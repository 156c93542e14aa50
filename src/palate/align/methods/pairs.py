"""Methods that learn from pairs of a winner and a loser: DPO and its links, CPO, MaPO."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from palate.align.examples import Example
from palate.align.methods.method import Measured, ranked
from palate.objectives.cpo import cpo
from palate.objectives.dpo import dpo
from palate.objectives.link import Link
from palate.objectives.mapo import mapo
from palate.prefer.pairs import to_pairs
from palate.records.ranked import RankedSet


@dataclass(frozen=True)
class _Pairs:
    """Every strictly ordered pair of every ranked set."""

    learns_from: ClassVar[Literal["rankings"]] = "rankings"
    statistic: ClassVar[None] = None
    name: ClassVar[str]

    def examples(self, feedback: Sequence[RankedSet]) -> list[Example]:
        """Every pair that a ranking tells apart."""
        pairs = to_pairs(ranked(feedback, self.name))
        return [Example(pair.prompt, (pair.winner, pair.loser), pair.key, pair.weight) for pair in pairs]

    def exemplary(self, measured: Measured) -> Tensor:
        """The first image is the best."""
        return torch.ones_like(measured.error[:, 0])

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
    name: ClassVar[str] = "dpo"
    reference: ClassVar[bool] = True

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
    name: ClassVar[str] = "cpo"
    reference: ClassVar[bool] = False

    def loss(self, measured: Measured) -> tuple[Tensor, dict[str, Tensor]]:
        """As `objectives.cpo`."""
        return cpo(*measured.error.unbind(1), self.beta, self.anchor, self.link, self.smoothing)


@dataclass(frozen=True)
class MaPO(_Pairs):
    """MaPO: no reference."""

    beta: float
    name: ClassVar[str] = "mapo"
    reference: ClassVar[bool] = False

    def loss(self, measured: Measured) -> tuple[Tensor, dict[str, Tensor]]:
        """As `objectives.mapo`."""
        return mapo(*measured.error.unbind(1), beta=self.beta)
