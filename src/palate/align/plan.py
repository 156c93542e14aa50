"""The examples and draws of each training step: a function of the seed and the step alone.

Each visit to a key (to any pair of a ranked set) takes the key's next draw, 0, 1, 2, ...; where the number of draws is
limited, they start again at 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from palate.core.seeds import numpy_generator
from palate.diffusion.draws import Draws


@dataclass(frozen=True, eq=False)
class TrainingPlan:
    """The order of training.

    Attributes:
        draws: the time, noise and prompt dropout of each key and draw.
        key: the number of each example's key [N].
        batch: examples per step, over all processes and micro-batches.
        limit: how many draws a key has; None for a new one at every visit.
    """

    draws: Draws
    key: np.ndarray
    batch: int
    limit: int | None

    def step(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """The examples [batch] of step 0, 1, ... and the draw [batch] of each, as integers.

        Epochs follow each other without a gap: a batch may contain the end of one epoch and the beginning of the next.
        """
        place = np.arange(step * self.batch, (step + 1) * self.batch)
        epochs, offsets = np.divmod(place, len(self.key))
        examples = np.empty_like(place)
        for epoch in np.unique(epochs):
            inside = epochs == epoch
            examples[inside] = self._order(int(epoch))[offsets[inside]]
        return examples, self._draw(examples, epochs)

    def visited(self, steps: int) -> np.ndarray:
        """The examples that a run of `steps` steps visits at least once, in ascending order."""
        if steps * self.batch >= len(self.key):
            return np.arange(len(self.key))
        return np.sort(self._order(0)[: steps * self.batch])

    def visits(self, steps: int) -> list[np.ndarray]:
        """The examples that a run of `steps` steps visits at draw 0, 1, ..., one array per draw."""
        examples, draws = (np.concatenate(each) for each in zip(*map(self.step, range(steps))))
        order = np.argsort(draws, kind="stable")
        return np.split(examples[order], np.searchsorted(draws[order], np.arange(1, draws.max() + 1)))

    def _draw(self, examples: np.ndarray, epoch: np.ndarray | int) -> np.ndarray:
        """The draw [B] of examples [B] in an epoch: the number of earlier visits to their key."""
        turn, count = self._turns
        visit = epoch * count[examples] + turn[examples]
        return visit % self.limit if self.limit else visit

    @cached_property
    def _turns(self) -> tuple[np.ndarray, np.ndarray]:
        """The place of each example among those of its key, and how many examples its key has, [N] each."""
        order = np.argsort(self.key, kind="stable")
        turn = np.empty_like(order)
        turn[order] = np.arange(len(order)) - np.searchsorted(self.key[order], self.key[order])
        return turn, np.bincount(self.key)[self.key]

    @lru_cache(maxsize=2)  # noqa: B019  # a plan lives as long as its run
    def _order(self, epoch: int) -> np.ndarray:
        """The examples in the order of an epoch: random, but with stratified times in every batch.

        The examples are sorted by time and divided into `batch` strata; a batch takes one example from each stratum.
        The strata have the same random order in every batch, so any `batch` consecutive examples of an epoch contain
        each stratum once (or nearly, where `batch` does not divide the number of examples).

        Reference: Kingma et al. 2021 (arXiv:2107.00630), appendix I.1, who stratify the times of a batch to lower the
        variance of the loss.
        """
        n, generator = len(self.key), numpy_generator(self.draws.seed, "order", epoch)
        by_time = np.argsort(self.draws.u(self.key, self._draw(np.arange(n), epoch)), kind="stable")
        strata = np.arange(n) * self.batch // n
        shuffled = np.lexsort((generator.random(n), strata))  # within each stratum
        turn = np.arange(n) - np.searchsorted(strata, strata)  # its place within the stratum
        place = generator.permutation(self.batch)[strata]
        return by_time[shuffled][np.lexsort((place, turn))]
