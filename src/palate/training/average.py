"""An exponential moving average of the weights that a training changes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class WeightAverage:
    """`average <- d average + (1 - d) weights` after each step, with `d = min(decay, (1 + n) / (10 + n))` at update n.

    The smaller factor at the beginning lets the average follow the weights before it averages over many steps, as in
    TensorFlow's `ExponentialMovingAverage` with `num_updates` and diffusers' `EMAModel`.

    Args:
        network: the weights are its parameters that require a gradient.
        decay: in [0, 1); about `1 / (1 - decay)` steps are averaged.
        ramp: whether d is smaller at the beginning; otherwise it is always the decay.

    Reference: Polyak and Juditsky, "Acceleration of stochastic approximation by averaging", 1992; Ho et al. 2020
    (arXiv:2006.11239), appendix B, whose decay is 0.9999.
    """

    def __init__(self, network: nn.Module, decay: float, ramp: bool = True) -> None:
        self.decay, self.ramp = decay, ramp
        self._weights = [(name, each.data) for name, each in network.named_parameters() if each.requires_grad]
        self._average = [value.clone() for _, value in self._weights]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Takes the weights after step 0, 1, ... into the average."""
        decay = min(self.decay, (1 + step) / (10 + step)) if self.ramp else self.decay
        torch._foreach_lerp_(self._average, [value for _, value in self._weights], 1 - decay)

    @torch.no_grad()
    def apply(self) -> None:
        """Puts the average in the place of the weights."""
        for (_, value), average in zip(self._weights, self._average):
            value.copy_(average)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Puts the average in the place of the weights for the block; then they are what they were, bit for bit."""
        kept = [value.clone() for _, value in self._weights]
        self.apply()
        try:
            yield
        finally:
            with torch.no_grad():
                for (_, value), before in zip(self._weights, kept):
                    value.copy_(before)

    def tensors(self) -> dict[str, Tensor]:
        """The average by the names of the weights, for a checkpoint."""
        return {name: average for (name, _), average in zip(self._weights, self._average)}

    @torch.no_grad()
    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Takes back what `tensors` returned."""
        for name, average in self.tensors().items():
            average.copy_(tensors[name])
