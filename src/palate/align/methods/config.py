"""What each offline method is configured by, beside what all share. Imports nothing heavy.

Beta has one meaning wherever a method has `dpo`'s: errors are means over an image's elements, and the log-ratio of an
image is half of how much its error fell. `palate align convert-beta` turns another code's beta into this one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from palate.align.config import AlignConfig

if TYPE_CHECKING:
    from palate.align.methods.lists import Listwise
    from palate.align.methods.pairs import CPO, DPO, MaPO
    from palate.align.methods.singles import KTO, SFT, RewardWeighted


def _refuse(*wrong: tuple[bool, str]) -> None:
    if messages := [message for found, message in wrong if found]:
        raise ValueError("; ".join(messages))


@dataclass(frozen=True, kw_only=True)
class SFTConfig(AlignConfig):
    """Supervised fine-tuning on preferred or curated images: of rankings the best, of a folder with prompts all."""

    def method(self) -> SFT:
        """The objective, and how it reads feedback."""
        from palate.align.methods.singles import SFT

        return SFT()


@dataclass(frozen=True, kw_only=True)
class PreferenceConfig(AlignConfig):
    """What the methods with a Bradley-Terry margin share."""

    beta: float = 2000.0
    """Pull towards the base model, on errors that are means and log-ratios with the half; 2000 for SD1.5 and 5000 for
    SDXL in Wallace et al. 2023."""
    anchor: float = 0.0
    """Weight of the winner's own error in the loss, which keeps winners from being unlearned; 0 in the paper."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _refuse(
            (self.beta <= 0, f"beta must be above zero, not {self.beta}"),
            (self.anchor < 0, f"anchor must not be below zero, not {self.anchor}"),
        )

    def learning_rate(self) -> float:
        """As every method's; for full training times 2000 / beta, as the paper scales it (section 5.1)."""
        rate = super().learning_rate()
        return rate if self.lr or self.train == "lora" else rate * 2000 / self.beta


@dataclass(frozen=True, kw_only=True)
class DPOConfig(PreferenceConfig):
    """Diffusion-DPO."""

    link: Literal["sigmoid", "hinge", "ipo"] = "sigmoid"
    """How a margin becomes a loss: sigmoid as published, hinge (SLiC) or ipo (Azar et al. 2023)."""
    smoothing: float = 0.0
    """Share of pairs believed to be ranked wrongly, below 0.5 (conservative DPO)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _refuse((not 0 <= self.smoothing < 0.5, f"smoothing is a share from 0 to below 0.5, not {self.smoothing}"))

    def method(self) -> DPO:
        """The objective, and how it reads feedback."""
        from palate.align.methods.pairs import DPO

        return DPO(self.beta, self.anchor, self.link, self.smoothing)


@dataclass(frozen=True, kw_only=True)
class CPOConfig(DPOConfig):
    """Diffusion-CPO."""

    anchor: float = 1.0
    """Weight of the winner's own error (lambda), all that holds the model to the data; 1 in Xu et al. 2024."""

    def method(self) -> CPO:  # type: ignore[override]  # the same fields, another objective
        """The objective, and how it reads feedback."""
        from palate.align.methods.pairs import CPO

        return CPO(self.beta, self.anchor, self.link, self.smoothing)


@dataclass(frozen=True, kw_only=True)
class ListwiseConfig(PreferenceConfig):
    """Plackett-Luce over whole rankings."""

    reference: bool = True
    """Measure against the base model, as DPO does; without it the loss is CPO's and wants an anchor."""

    def method(self) -> Listwise:
        """The objective, and how it reads feedback."""
        from palate.align.methods.lists import Listwise

        return Listwise(self.beta, self.anchor, self.reference)


@dataclass(frozen=True, kw_only=True)
class MaPOConfig(AlignConfig):
    """MaPO."""

    beta: float = 0.1
    """Weight of the margin against the winner's own error; 0.1 in the paper's code. No reference, so not DPO's beta."""
    sharpness: float = 1000.0
    """Factor of the margin; 1000 in the paper's code. Less where errors differ more than SD's thousandths."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _refuse(
            (self.beta <= 0, f"beta must be above zero, not {self.beta}"),
            (self.sharpness <= 0, f"sharpness must be above zero, not {self.sharpness}"),
        )

    def method(self) -> MaPO:
        """The objective, and how it reads feedback."""
        from palate.align.methods.pairs import MaPO

        return MaPO(self.beta, self.sharpness)


@dataclass(frozen=True, kw_only=True)
class KTOConfig(AlignConfig):
    """Diffusion-KTO."""

    beta: float = 1000.0
    """Sharpness of the utility of a gain (base's error minus the model's, no half); 1000 in the paper's code."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _refuse((self.beta <= 0, f"beta must be above zero, not {self.beta}"))

    def method(self) -> KTO:
        """The objective, and how it reads feedback."""
        from palate.align.methods.singles import KTO

        return KTO(self.beta)


@dataclass(frozen=True, kw_only=True)
class RewardWeightedConfig(AlignConfig):
    """Reward-weighted likelihood."""

    beta: float = 1.0
    """Weight of the likelihood of real images."""
    real: str | None = None
    """Graded images whose grades are not read: pictures like those of pretraining, which keep the model general."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _refuse((self.beta < 0, f"beta must not be below zero, not {self.beta}"))

    def method(self) -> RewardWeighted:
        """The objective, and how it reads feedback."""
        from palate.align.methods.singles import RewardWeighted

        return RewardWeighted(self.beta, self.real)
