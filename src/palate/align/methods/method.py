"""What the trainer needs of a method."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
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
    """What a loss reads of B examples of n images.

    Attributes:
        error: the policy's errors [B, n].
        error_ref: the base model's [B, n], where the method asks for them.
        facts: what the examples say of themselves [B, k], such as a rank for each image.
        mean: of the method's `statistic` over the whole batch of all processes, where the method is batchwise.
    """

    error: Tensor
    error_ref: Tensor | None
    facts: Tensor
    mean: Tensor | None = None

    @property
    def reference(self) -> Tensor:
        """The base model's errors [B, n] of a method that asked for them."""
        assert self.error_ref is not None, "a method whose `reference` is True has them"
        return self.error_ref


class Method(ABC, Generic[C]):
    """A new method is a class with these.

    Attributes:
        name: of the method, such as `dpo`.
        learns_from: the kind of feedback that `examples` takes; `images` to imitate are graded images of grade 1.
        reference: whether the loss needs the base model's errors.
        batchwise: whether the loss needs the mean of `statistic` over the whole batch.
        config: its settings.
    """

    name: str
    learns_from: Literal["rankings", "grades", "images"] = "rankings"
    reference: bool = False
    batchwise: bool = False

    def __init__(self, config: C) -> None:
        self.config = config

    @abstractmethod
    def examples(self, feedback: Any) -> Examples:
        """What of the feedback to train on: of `Rankings`, or of `Grades` for the other kinds of `learns_from`.

        Raises:
            InputError: it lacks what the method needs; the message says what that is.
        """

    @abstractmethod
    def roles(self, n: int) -> Sequence[str]:
        """What the n images of an example are, such as `("winner", "loser")`: their errors are logged by it."""

    @abstractmethod
    def loss(self, measured: Measured) -> tuple[Tensor, Metrics]:
        """The loss [B] and metrics [B]."""

    def statistic(self, measured: Measured) -> Tensor:
        """What of each example [B] a batchwise loss needs the mean of."""
        raise NotImplementedError(f"{self.name} is not batchwise")

    def imitation_weight(self, measured: Measured) -> Tensor:
        """How far the first image of each example is one to imitate [B], in [0, 1]: what an adversarial term weighs."""
        return measured.error.new_ones(len(measured.error))


def require_ranked(feedback: Rankings, name: str) -> None:
    """Raises InputError where nobody has ranked any of the sets.

    Args:
        name: of the method, for the error.
    """
    if not feedback.ranked.any():
        fix = "let people compare them, or `palate prefer from-scores` rank them"
        raise InputError(f"{name} learns from rankings, and none of these {len(feedback)} sets is ranked; {fix}")
