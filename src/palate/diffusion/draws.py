"""The randomness of training: time, noise and prompt dropout, keyed by the ranked set.

A *draw* is one (time, noise, prompt kept or dropped) of a ranked set; all its images share it. It depends on the seed,
the set's identity and the draw's number, never on the step, the batch or the process. So a resumed run equals an
uninterrupted one, a run does not depend on how its batch is split, and the base model's error of an (image, draw) can
be computed once for all epochs and runs that use it again.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from palate.core.seeds import derive

GOLDEN = (5**0.5 - 1) / 2


class Draws:
    """The draws of K keys.

    Args:
        keys: the identities [K] of the groups that share their randomness, such as ranked sets.
        seed: seed of the run.
        dropout: share of draws with the empty prompt.
    """

    def __init__(self, keys: list[str] | tuple[str, ...], seed: int, dropout: float = 0.0) -> None:
        self.keys, self.seed, self.dropout = keys, seed, dropout

    def u(self, key: np.ndarray, draw: np.ndarray) -> np.ndarray:
        """Quantiles in [0, 1) of the times [R] of keys [R] at draws [R]; the schedule turns them into times.

        The draws of one key are a golden-ratio sequence with a keyed start: each is uniform, and together they cover
        the times evenly, whatever their number is.
        """
        return (self._starts[key] + draw * GOLDEN) % 1.0

    def noise(self, key: np.ndarray, draw: np.ndarray, shape: tuple[int, ...]) -> Tensor:
        """Standard normal noise [R, *shape]; equal keys at equal draws have equal noise.

        Different ones nearly always differ: torch's CPU generator uses 32 bits of a seed, see
        `core.seeds.torch_generator`.
        """
        distinct, where = np.unique(np.stack([key, draw]), axis=1, return_inverse=True)
        noise, generator = torch.empty(distinct.shape[1], *shape), torch.Generator()
        for row, (k, d) in zip(noise, distinct.T.tolist()):
            generator.manual_seed(derive(self.seed, "noise", self.keys[k], d))
            torch.randn(shape, generator=generator, out=row)
        return noise[torch.from_numpy(where.ravel())]

    def dropped(self, key: np.ndarray, draw: np.ndarray) -> np.ndarray:
        """Whether the prompt is dropped [R]."""
        if not self.dropout:
            return np.zeros(len(key), dtype=bool)
        pairs = zip(key.tolist(), draw.tolist())
        below = self.dropout * 2.0**63
        return np.array([derive(self.seed, "prompt dropout", self.keys[k], d) < below for k, d in pairs])

    @cached_property
    def _starts(self) -> np.ndarray:
        return np.array([derive(self.seed, "time", key) for key in self.keys], dtype=np.float64) / 2.0**63
