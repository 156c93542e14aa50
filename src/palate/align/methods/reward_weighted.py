"""Reward-weighted likelihood: graded images weighted by their grades, and real images with a constant weight."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from palate.align.config import AlignConfig
from palate.align.methods.method import Measured, Method
from palate.align.methods.singles import Singles, singles
from palate.training.config import below_zero

if TYPE_CHECKING:
    from torch import Tensor

    from palate.align.examples import Examples
    from palate.objectives.metrics import Metrics
    from palate.records.columns import Grades


@dataclass(frozen=True, kw_only=True)
class RewardWeightedConfig(AlignConfig):
    """Reward-weighted likelihood (Lee et al. 2023, arXiv:2302.12192) on graded images."""

    about: ClassVar[str] = "fine-tune on images weighted by their rewards"

    beta: float = 1.0
    """Weight of the likelihood of real images."""
    real: str | None = None
    """Graded images whose grades are ignored: images like those of pretraining, so that the model stays general."""

    def problems(self) -> Iterator[str]:
        """See `AlignConfig`."""
        yield from super().problems()
        yield from below_zero(self, "beta")

    def method(self) -> Method[Any]:
        """The objective, and how it reads feedback."""
        return RewardWeighted(self)


class RewardWeighted(Singles[RewardWeightedConfig]):
    """See `RewardWeightedConfig`."""

    name = "reward_weighted"
    learns_from = "grades"

    def examples(self, feedback: Grades) -> Examples:
        """Every graded image with its reward, then every real one."""
        import numpy as np

        from palate.prefer.grades import load_graded

        count = len(feedback)
        if self.config.real:
            feedback = feedback.joined(load_graded(self.config.real, self.config.cache))
        real = np.arange(len(feedback)) >= count
        return singles(feedback, facts=np.stack([feedback.grade, real], -1))

    def held_out(self, feedback: Grades) -> Examples:
        """Every graded image with its reward; the real images are trained on."""
        import numpy as np

        return singles(feedback, facts=np.stack([feedback.grade, np.zeros(len(feedback))], -1))

    def imitation_weight(self, measured: Measured) -> Tensor:
        """1 for a real image, and the reward of a generated one."""
        return measured.facts.amax(1)

    def loss(self, measured: Measured) -> tuple[Tensor, Metrics]:
        """See `objectives.reward_weighted`."""
        from palate.objectives.reward_weighted import reward_weighted

        reward, real = measured.facts.unbind(1)
        return reward_weighted(measured.error.squeeze(1), reward, real > 0.5, self.config.beta)
