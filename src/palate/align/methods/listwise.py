"""Listwise preference optimisation: all images of a ranked set at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from palate.align.methods.method import Measured, Method
from palate.align.methods.pairs import Ranked
from palate.align.methods.voted import VotedConfig, require_shares, with_beta

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from palate.align.examples import Examples
    from palate.objectives.metrics import Metrics
    from palate.records.columns import Rankings


@dataclass(frozen=True, kw_only=True)
class ListwiseConfig(VotedConfig):
    """Plackett-Luce over the images of each ranked set; with two images it is DPO."""

    about: ClassVar[str] = "learn whole rankings of n images at once"

    reference: bool = True
    """Measure against the base model, as DPO does; without it the loss is CPO's and needs an anchor."""
    soft_votes: bool = False
    """Learn each rater's own ranking of a set, in the share of the raters who gave it, instead of the combined one."""

    def method(self) -> Method[Any]:
        """The objective, and how it reads feedback."""
        return Listwise(self)


class Listwise(Ranked[ListwiseConfig]):
    """See `ListwiseConfig`; with a reference (as DPO) or without (as CPO)."""

    name = "listwise"

    def __init__(self, config: ListwiseConfig) -> None:
        super().__init__(config)
        self.reference, self.memory = config.reference, config.memory

    def examples(self, feedback: Rankings) -> Examples:
        """Each ranked set in which not all images tie; its facts are the ranks, 0 where a smaller set has no image.

        The unused places of a smaller set are filled with its first image, which rank 0 keeps out of the loss. With
        soft votes the facts also have the distinct votes on the set, each after the share of its raters.
        """
        import numpy as np

        from palate.align.examples import Examples

        feedback = self.usable(feedback)
        sets = np.flatnonzero(feedback.has_preference)
        largest = feedback.size[sets].max(initial=0)
        image, rank = np.zeros((len(sets), largest), int), np.zeros((len(sets), largest))
        place = np.zeros((len(sets), largest), int)  # of each image among the members of its set
        for n, same, members in feedback.by_size(sets):
            order = np.argsort(feedback.rank[members], axis=1, kind="stable")
            members, rows = np.take_along_axis(members, order, 1), np.searchsorted(sets, same)
            image[rows], place[rows, :n] = feedback.image[members[:, :1]], order
            image[rows, :n], rank[rows, :n] = feedback.image[members], feedback.rank[members]
        keys, numbers = feedback.keys(sets), np.arange(len(sets))
        facts = np.concatenate([rank, self._votes(feedback, sets, place)], 1)
        return Examples.of(feedback, feedback.prompt[sets], image, keys, numbers, facts=facts)

    def _votes(self, feedback: Rankings, sets: np.ndarray, place: np.ndarray) -> np.ndarray:
        """The distinct votes on sets [S], K x (share, ranks) in a row [S, K (1 + n)]; without soft votes K is 0."""
        import numpy as np

        if not self.config.soft_votes:
            return np.zeros((len(sets), 0))
        require_shares(feedback, self.name)
        distinct = feedback.distinct_votes(sets)
        n, size, most = place.shape[1], feedback.size[sets], max(map(len, distinct))
        votes = np.zeros((len(sets), most, 1 + n))
        for row, counts in enumerate(distinct):
            used = place[row, : size[row]]
            for k, (ranks, count) in enumerate(counts.items()):
                votes[row, k, 0] = count / sum(counts.values())
                votes[row, k, 1 : 1 + len(used)] = np.array(ranks)[used]
        return votes.reshape(len(sets), -1)

    def roles(self, n: int) -> tuple[str, ...]:
        """The images in their order: best first."""
        return tuple(f"place_{place}" for place in range(1, n + 1))

    def loss(self, measured: Measured) -> tuple[Tensor, Metrics]:
        """See `objectives.listwise`."""
        from palate.objectives.listwise import Rankers, listwise

        c, error_ref = self.config, measured.reference if self.reference else None
        beta, n = c.present_beta(measured), measured.error.shape[1]
        ranks, votes = measured.facts[:, :n], measured.facts[:, n:].unflatten(1, (-1, 1 + n))
        rankers = Rankers(votes[..., 1:], votes[..., 0]) if c.soft_votes else None
        loss, metrics = listwise(measured.error, error_ref, ranks, beta, c.anchor, rankers, self.loser_share(measured))
        return loss, with_beta(metrics, beta, loss)

    def statistic(self, measured: Measured) -> Tensor:
        """The mean size of the margins of the ordered pairs at a beta of 1."""
        from palate.objectives.error import log_ratio

        error, ranks = measured.error, measured.facts[:, : measured.error.shape[1]]
        score = log_ratio(error, measured.reference if self.reference else error.new_zeros(error.shape))
        ordered = (ranks.unsqueeze(1) > ranks.unsqueeze(2)) & (ranks > 0).unsqueeze(2)
        size = (score.unsqueeze(1) - score.unsqueeze(2)).abs() * ordered
        return size.sum((1, 2)) / ordered.sum((1, 2)).clamp(min=1)
