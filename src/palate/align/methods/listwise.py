"""Listwise preference: all images of a ranked set at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from palate.align.methods.method import Measured, Method, ranked
from palate.align.methods.pairs import PreferenceConfig

if TYPE_CHECKING:
    from torch import Tensor

    from palate.align.examples import Example
    from palate.objectives.metrics import Metrics
    from palate.records.ranked import RankedSet


@dataclass(frozen=True, kw_only=True)
class ListwiseConfig(PreferenceConfig):
    """Plackett-Luce over the images of each ranked set; two images make it DPO."""

    about: ClassVar[str] = "learn whole rankings of n images at once"

    reference: bool = True
    """Measure against the base model, as DPO does; without it the loss is CPO's and wants an anchor."""

    def method(self) -> Method[Any]:
        """The objective, and how it reads feedback."""
        return Listwise(self)


class Listwise(Method[ListwiseConfig]):
    """See `ListwiseConfig`; with a reference (as DPO) or without (as CPO)."""

    name = "listwise"

    def __init__(self, config: ListwiseConfig) -> None:
        super().__init__(config)
        self.reference = config.reference

    def examples(self, feedback: Sequence[RankedSet]) -> list[Example]:
        """Each set that tells any images apart; its facts are the ranks, 0 where a smaller set has no image.

        A smaller set's places are filled with its first image, which rank 0 keeps out of the loss.
        """
        sets = [each for each in ranked(feedback, self.name) if len(set(each.ranks or ())) > 1]
        largest = max((len(each.images) for each in sets), default=0)
        return [_example(each, largest) for each in sets]

    def roles(self, n: int) -> tuple[str, ...]:
        """The images in their order: best first."""
        return tuple(f"place_{place}" for place in range(1, n + 1))

    def loss(self, measured: Measured) -> tuple[Tensor, Metrics]:
        """As `objectives.listwise`."""
        from palate.objectives.listwise import listwise

        error_ref = measured.reference if self.reference else None
        return listwise(measured.error, error_ref, measured.facts, self.config.beta, self.config.anchor)


def _example(full: RankedSet, size: int) -> Example:
    from palate.align.examples import Example

    ordered = sorted(zip(full.ranks or (), full.images), key=lambda place: place[0])
    ordered += [(0, ordered[0][1])] * (size - len(ordered))
    images, ranks = tuple(image for _, image in ordered), tuple(float(rank) for rank, _ in ordered)
    return Example(full.prompt, images, full.key(), facts=ranks)
