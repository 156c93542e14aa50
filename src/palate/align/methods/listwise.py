"""Listwise preference optimisation: all images of a ranked set at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from palate.align.methods.method import Measured, Method, require_ranked
from palate.align.methods.pairs import PreferenceConfig

if TYPE_CHECKING:
    from torch import Tensor

    from palate.align.examples import Examples
    from palate.objectives.metrics import Metrics
    from palate.records.columns import Rankings


@dataclass(frozen=True, kw_only=True)
class ListwiseConfig(PreferenceConfig):
    """Plackett-Luce over the images of each ranked set; with two images it is DPO."""

    about: ClassVar[str] = "learn whole rankings of n images at once"

    reference: bool = True
    """Measure against the base model, as DPO does; without it the loss is CPO's and needs an anchor."""

    def method(self) -> Method[Any]:
        """The objective, and how it reads feedback."""
        return Listwise(self)


class Listwise(Method[ListwiseConfig]):
    """See `ListwiseConfig`; with a reference (as DPO) or without (as CPO)."""

    name = "listwise"

    def __init__(self, config: ListwiseConfig) -> None:
        super().__init__(config)
        self.reference = config.reference

    def examples(self, feedback: Rankings) -> Examples:
        """Each ranked set in which not all images tie; its facts are the ranks, 0 where a smaller set has no image.

        The unused places of a smaller set are filled with its first image, which rank 0 keeps out of the loss.
        """
        import numpy as np

        from palate.align.examples import Examples

        require_ranked(feedback, self.name)
        sets = np.flatnonzero(feedback.has_preference)
        largest = feedback.size[sets].max(initial=0)
        image, rank = np.zeros((len(sets), largest), int), np.zeros((len(sets), largest))
        for n, same, members in feedback.by_size(sets):
            order = np.argsort(feedback.rank[members], axis=1, kind="stable")
            members, rows = np.take_along_axis(members, order, 1), np.searchsorted(sets, same)
            image[rows] = feedback.image[members[:, :1]]
            image[rows, :n], rank[rows, :n] = feedback.image[members], feedback.rank[members]
        keys, numbers = feedback.keys(sets), np.arange(len(sets))
        return Examples.of(feedback, feedback.prompt[sets], image, keys, numbers, facts=rank)

    def roles(self, n: int) -> tuple[str, ...]:
        """The images in their order: best first."""
        return tuple(f"place_{place}" for place in range(1, n + 1))

    def loss(self, measured: Measured) -> tuple[Tensor, Metrics]:
        """See `objectives.listwise`."""
        from palate.objectives.listwise import listwise

        error_ref = measured.reference if self.reference else None
        return listwise(measured.error, error_ref, measured.facts, self.config.beta, self.config.anchor)
