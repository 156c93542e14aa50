"""Diffusion-KTO: learn from thumbs up and down, without pairs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from palate.align.config import AlignConfig
from palate.align.methods.method import Measured, Method
from palate.align.methods.singles import Singles, singles
from palate.core.errors import InputError
from palate.training.config import not_above_zero

if TYPE_CHECKING:
    from torch import Tensor

    from palate.align.examples import Examples
    from palate.objectives.metrics import Metrics
    from palate.records.columns import Grades


@dataclass(frozen=True, kw_only=True)
class KTOConfig(AlignConfig):
    """Diffusion-KTO (Li et al. 2024, arXiv:2404.04465) on graded images of grade 0 and 1."""

    about: ClassVar[str] = "learn from thumbs up and down, without pairs"

    beta: float = 1000.0
    """Sharpness of the utility of a gain (base's error minus the model's, no half); 1000 in the paper's code."""

    def problems(self) -> Iterator[str]:
        """See `AlignConfig`."""
        yield from super().problems()
        yield from not_above_zero(self, "beta")

    def method(self) -> Method[Any]:
        """The objective, and how it reads feedback."""
        return KTO(self)


class KTO(Singles[KTOConfig]):
    """See `KTOConfig`. Thumbs are up (grade 1) or down (grade 0); both kinds have the same total weight."""

    name = "kto"
    learns_from = "grades"
    reference = True
    batchwise = True

    def examples(self, feedback: Grades) -> Examples:
        """Every image with a thumb, each with its own noise."""
        import numpy as np

        grade = feedback.grade
        odd = grade[(grade != 0) & (grade != 1)]
        if len(odd):
            fix = "make thumbs from scores with `palate prefer grade --threshold`"
            raise InputError(f"kto learns from thumbs, which are grades of 0 and 1, and one grade is {odd[0]}; {fix}")
        counts = np.array([(grade == kind).sum() for kind in (0, 1)])
        if not counts.all():
            raise InputError(f"kto needs thumbs up and thumbs down, and every grade is {grade[0]:g}")
        return singles(feedback, len(grade) / (2 * counts[grade.astype(int)]), grade[:, None])

    def imitation_weight(self, measured: Measured) -> Tensor:
        """1 for a thumb up, 0 for a thumb down."""
        return measured.facts.squeeze(1)

    def statistic(self, measured: Measured) -> Tensor:
        """The gain over the reference; its mean estimates the divergence from the reference."""
        from palate.objectives.kto import gain

        return gain(measured.error.squeeze(1), measured.reference.squeeze(1))

    def loss(self, measured: Measured) -> tuple[Tensor, Metrics]:
        """See `objectives.kto`."""
        from palate.objectives.kto import kto

        assert measured.mean is not None  # the method is batchwise
        error, error_ref = measured.error.squeeze(1), measured.reference.squeeze(1)
        return kto(error, error_ref, measured.facts.squeeze(1) > 0.5, measured.mean.clamp(min=0), self.config.beta)
