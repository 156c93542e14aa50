"""Listwise preference: all images of a ranked set at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from palate.align.examples import Example
from palate.align.methods.method import Measured, Method, ranked
from palate.objectives.listwise import listwise
from palate.records.ranked import RankedSet


@dataclass(frozen=True)
class Listwise(Method):
    """Plackett-Luce over the images of each ranked set, with a reference (as DPO) or without (as CPO)."""

    beta: float
    anchor: float = 0.0
    reference: bool = True
    name = "listwise"

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

    def loss(self, measured: Measured) -> tuple[Tensor, dict[str, Tensor]]:
        """As `objectives.listwise`."""
        error_ref = measured.reference if self.reference else None
        return listwise(measured.error, error_ref, measured.facts, self.beta, self.anchor)


def _example(full: RankedSet, size: int) -> Example:
    ordered = sorted(zip(full.ranks or (), full.images), key=lambda place: place[0])
    ordered += [(0, ordered[0][1])] * (size - len(ordered))
    images, ranks = tuple(image for _, image in ordered), tuple(float(rank) for rank, _ in ordered)
    return Example(full.prompt, images, full.key(), facts=ranks)
