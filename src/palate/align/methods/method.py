"""The interface of a method: what the trainer needs from it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

from palate.align.config import AlignConfig
from palate.core.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from palate.align.examples import Examples
    from palate.objectives.metrics import Metrics
    from palate.records.columns import Rankings

C = TypeVar("C", bound=AlignConfig)


@dataclass(frozen=True)
class Measured:
    """The inputs of a loss, for B examples of n images.

    Attributes:
        error: the policy's errors [B, n].
        error_ref: the base model's errors [B, n], if the method needs them.
        facts: the examples' own numbers [B, k], such as the rank of each image.
        mean: the mean of the method's `statistic` over the whole batch of all processes, if the method is batchwise; or
            over the batches of earlier steps but the first, if it has a `memory` (None before there is one).
        t: the time of each example [B], as in `diffusion.schedule`; a loss may depend on it.
        products: the mean products of the residuals of each two images [B, n, n], whose diagonal is the errors, if the
            method asks for them; None for held-out examples too, as only gradients depend on them.
    """

    error: Tensor
    error_ref: Tensor | None
    facts: Tensor
    mean: Tensor | None = None
    t: Tensor | None = None
    products: Tensor | None = None

    def weighted(self, weight: Tensor) -> Measured:
        """The same with all errors and products of each example multiplied by its weight [B]."""
        scaled = {"error": self.error * weight.unsqueeze(1)}
        if self.error_ref is not None:
            scaled["error_ref"] = self.error_ref * weight.unsqueeze(1)
        if self.products is not None:
            scaled["products"] = self.products * weight.view(-1, 1, 1)
        return replace(self, **scaled)

    @property
    def reference(self) -> Tensor:
        """The base model's errors [B, n], for a method that needs them."""
        assert self.error_ref is not None, "a method whose `reference` is True has them"
        return self.error_ref


class Method(ABC, Generic[C]):
    """Base class of the methods.

    Attributes:
        name: name of the method, such as `dpo`.
        learns_from: the kind of feedback that `examples` takes; `images` are graded images, all of grade 1, to imitate.
        reference: whether the loss needs the base model's errors.
        follows: decay of a moving average of the policy's weights that takes the base model's place as the reference:
            one more forward pass at each step, and nothing is computed before. 0 keeps the base model.
        batchwise: whether the loss needs the mean of `statistic` over the whole batch.
        memory: decay of a moving average of that mean, if the loss needs the mean over earlier steps instead; else 0.
        products: whether the loss needs the products of residuals.
        mask: images of a set count only where their latents differ by more than this; None for all places.
        config: its settings.
    """

    name: str
    learns_from: Literal["rankings", "grades", "images"] = "rankings"
    reference: bool = False
    follows: float = 0.0
    batchwise: bool = False
    memory: float = 0.0
    products: bool = False
    mask: float | None = None

    def __init__(self, config: C) -> None:
        self.config = config

    @property
    def measures_base(self) -> bool:
        """Whether the base model's errors are measured before training."""
        return self.reference and not self.follows

    @abstractmethod
    def examples(self, feedback: Any) -> Examples:
        """The training examples of the feedback, which is `Rankings`, or `Grades` for the other kinds of `learns_from`.

        Raises:
            InputError: it lacks what the method needs; the message says what that is.
        """

    def held_out(self, feedback: Any) -> Examples:
        """The examples of feedback that is not trained on, for validation; see `examples`."""
        return self.examples(feedback)

    @abstractmethod
    def roles(self, n: int) -> Sequence[str]:
        """The roles of the n images of an example, such as `("winner", "loser")`, by which their errors are logged."""

    @abstractmethod
    def loss(self, measured: Measured) -> tuple[Tensor, Metrics]:
        """The loss [B] and metrics [B]."""

    def statistic(self, measured: Measured) -> Tensor:
        """The number per example [B] whose mean over the batch a batchwise loss needs."""
        raise NotImplementedError(f"{self.name} is not batchwise")

    def imitation_weight(self, measured: Measured) -> Tensor:
        """How strongly to imitate the first image of each example [B], in [0, 1]: its weight in an adversarial term."""
        return measured.error.new_ones(len(measured.error))


def require_ranked(feedback: Rankings, name: str) -> None:
    """Raises InputError if none of the sets is ranked.

    Args:
        feedback: the sets.
        name: name of the method, for the message.
    """
    if not feedback.ranked.any():
        fix = "let people compare them, or rank them with `palate prefer from-scores`"
        raise InputError(f"{name} learns from rankings, and none of these {len(feedback)} sets is ranked; {fix}")
