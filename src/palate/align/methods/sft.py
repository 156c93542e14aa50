"""Supervised fine-tuning on preferred or curated images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from palate.align.config import AlignConfig
from palate.align.methods.method import Measured, Method
from palate.align.methods.singles import Singles, singles

if TYPE_CHECKING:
    from torch import Tensor

    from palate.align.examples import Examples
    from palate.objectives.metrics import Metrics
    from palate.records.columns import Grades


@dataclass(frozen=True, kw_only=True)
class SFTConfig(AlignConfig):
    """Supervised fine-tuning on the best images of every ranked set, or on a folder of curated images."""

    about: ClassVar[str] = "fine-tune on preferred or curated images"

    def method(self) -> Method[Any]:
        """The objective, and how it reads feedback."""
        return SFT(self)


class SFT(Singles[SFTConfig]):
    """See `SFTConfig`; each image once."""

    name = "sft"
    learns_from = "images"

    def examples(self, feedback: Grades) -> Examples:
        """Every image."""
        return singles(feedback)

    def loss(self, measured: Measured) -> tuple[Tensor, Metrics]:
        """See `objectives.sft`."""
        from palate.objectives.sft import sft

        return sft(measured.error.squeeze(1))
