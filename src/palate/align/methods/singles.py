"""Methods that learn from single images: SFT, KTO, reward-weighted likelihood."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from palate.align.examples import Example
from palate.align.methods.method import Measured, Method
from palate.core.errors import InputError
from palate.objectives.kto import gain, kto
from palate.objectives.reward_weighted import reward_weighted
from palate.objectives.sft import sft
from palate.prefer.grades import load_graded
from palate.records.graded import GradedImage
from palate.records.images import StoredImage


@dataclass(frozen=True)
class _Singles(Method):
    def roles(self, n: int) -> tuple[str]:
        """Of the one image."""
        return ("image",)


@dataclass(frozen=True)
class SFT(_Singles):
    """Fine-tuning on curated images, or on the best of every ranked set, each once."""

    name = "sft"
    learns_from = "images"

    def examples(self, feedback: Sequence[GradedImage]) -> list[Example]:
        """Every image."""
        return [_example(each.prompt, each.image) for each in feedback]

    def loss(self, measured: Measured) -> tuple[Tensor, dict[str, Tensor]]:
        """As `objectives.sft`."""
        return sft(measured.error.squeeze(1))


@dataclass(frozen=True)
class KTO(_Singles):
    """Diffusion-KTO on thumbs up (grade 1) and down (grade 0); the rarer kind counts as much as the other."""

    beta: float
    name = "kto"
    learns_from = "grades"
    reference = True
    batchwise = True

    def examples(self, feedback: Sequence[GradedImage]) -> list[Example]:
        """Every image with a thumb, with noise of its own."""
        if odd := [thumb.grade for thumb in feedback if thumb.grade not in (0, 1)]:
            mend = "`palate prefer grade --threshold` makes thumbs of scores"
            raise InputError(f"kto learns from thumbs, grades of 0 and 1, and one is {odd[0]}; {mend}")
        counts = Counter(thumb.grade for thumb in feedback)
        if len(counts) < 2:
            raise InputError(f"kto needs thumbs up and down, and all {len(feedback)} are {feedback[0].grade:g}")
        return [
            _example(thumb.prompt, thumb.image, len(feedback) / (2 * counts[thumb.grade]), (thumb.grade,))
            for thumb in feedback
        ]

    def exemplary(self, measured: Measured) -> Tensor:
        """A liked image."""
        return measured.facts.squeeze(1)

    def statistic(self, measured: Measured) -> Tensor:
        """The gain over the reference, whose mean estimates the divergence from it."""
        return gain(measured.error.squeeze(1), measured.reference.squeeze(1))

    def loss(self, measured: Measured) -> tuple[Tensor, dict[str, Tensor]]:
        """As `objectives.kto`."""
        assert measured.mean is not None  # there is a `statistic`
        error, error_ref = measured.error.squeeze(1), measured.reference.squeeze(1)
        return kto(error, error_ref, measured.facts.squeeze(1) > 0.5, measured.mean.clamp(min=0), self.beta)


@dataclass(frozen=True)
class RewardWeighted(_Singles):
    """Reward-weighted likelihood on graded images, and plain likelihood on real ones."""

    beta: float
    real: str | None
    name = "reward_weighted"
    learns_from = "grades"

    def examples(self, feedback: Sequence[GradedImage]) -> list[Example]:
        """Every graded image with its reward, then every real one."""
        real = load_graded(self.real) if self.real else []
        return [_rewarded(each, False) for each in feedback] + [_rewarded(each, True) for each in real]

    def exemplary(self, measured: Measured) -> Tensor:
        """A real image, and a generated one by its reward."""
        return measured.facts.amax(1)

    def loss(self, measured: Measured) -> tuple[Tensor, dict[str, Tensor]]:
        """As `objectives.reward_weighted`."""
        reward, real = measured.facts.unbind(1)
        return reward_weighted(measured.error.squeeze(1), reward, real > 0.5, self.beta)


def _rewarded(graded: GradedImage, real: bool) -> Example:
    return _example(graded.prompt, graded.image, facts=(graded.grade, float(real)))


def _example(prompt: str, image: StoredImage, weight: float = 1.0, facts: tuple[float, ...] = ()) -> Example:
    return Example(prompt, (image,), f"{image.digest()} {prompt}", weight, facts)
