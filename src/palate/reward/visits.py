"""The examples of each training step of a reward: a function of the seed and the step alone."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from palate.core.seeds import numpy_generator

SAMPLE = 256
"""Number of examples from whose features a head standardises its inputs."""


@dataclass(frozen=True)
class Visits:
    """The order of training.

    Attributes:
        seed: seed of the run.
        count: number of examples, N.
        batch: examples per step, over all processes and micro-batches.
    """

    seed: int
    count: int
    batch: int

    def step(self, step: int) -> np.ndarray:
        """The examples [batch] of step 0, 1, ...; an epoch begins where the one before it ends, also within a batch."""
        place = np.arange(step * self.batch, (step + 1) * self.batch)
        epochs, offsets = np.divmod(place, self.count)
        orders = {epoch: self._epoch(epoch) for epoch in set(epochs.tolist())}
        return np.array([orders[epoch][offset] for epoch, offset in zip(epochs.tolist(), offsets)])

    def sample(self) -> np.ndarray:
        """The examples from whose features a head standardises its inputs."""
        return numpy_generator(self.seed, "sample").permutation(self.count)[:SAMPLE]

    def visited(self, steps: int) -> np.ndarray:
        """The examples that a training of `steps` steps reads, including the sample, in ascending order."""
        if steps * self.batch >= self.count:
            return np.arange(self.count)
        return np.union1d(self._epoch(0)[: steps * self.batch], self.sample())

    @lru_cache(maxsize=2)  # noqa: B019  # this object lives as long as its run
    def _epoch(self, epoch: int) -> np.ndarray:
        return numpy_generator(self.seed, "order", epoch).permutation(self.count)
