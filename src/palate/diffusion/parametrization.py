"""The quantity that a network predicts, and the conversion of a prediction to x_0 and eps.

Every parametrization is a linear combination of data and noise, `p x_0 + q eps`. Together with
`x_t = signal x_0 + noise eps` these are two linear equations in x_0 and eps, so one formula serves all:

    ============  =======  ========  =================================================
    prediction    p        q         reference
    ============  =======  ========  =================================================
    epsilon       0        1         Ho et al. 2020 (arXiv:2006.11239)
    sample        1        0         (x_0 itself)
    v_prediction  -noise   signal    Salimans & Ho 2022 (arXiv:2202.00512), appendix D
    velocity      -1       1         Liu et al. 2022 (arXiv:2209.03003)
    ============  =======  ========  =================================================
"""

from __future__ import annotations

from enum import StrEnum

import torch
from torch import Tensor

from palate.diffusion.schedule import Schedule, broadcast


class Parametrization(StrEnum):
    """The meaning of a network's raw output; the first three have the names of diffusers' `prediction_type`."""

    EPSILON = "epsilon"
    SAMPLE = "sample"
    V = "v_prediction"
    VELOCITY = "velocity"

    def target(self, schedule: Schedule, x_0: Tensor, eps: Tensor, t: Tensor) -> Tensor:
        """The output of a perfect network [B, C, H, W] at `t` [B]."""
        p, q = self._mix(broadcast(schedule.signal(t), x_0), broadcast(schedule.noise(t), x_0))
        return p * x_0 + q * eps

    def recover(self, schedule: Schedule, prediction: Tensor, x_t: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """The x_0 and eps [B, C, H, W] that a prediction implies at `t` [B].

        They are not defined where the prediction does not determine the other part: epsilon at pure noise (signal = 0),
        the sample at clean data (noise = 0).
        """
        signal, noise = broadcast(schedule.signal(t), x_t), broadcast(schedule.noise(t), x_t)
        p, q = self._mix(signal, noise)
        determinant = signal * q - noise * p
        return (q * x_t - noise * prediction) / determinant, (signal * prediction - p * x_t) / determinant

    def determinant(self, schedule: Schedule, t: Tensor) -> Tensor:
        """The determinant of the equations [B] at `t` [B].

        An error in the prediction is an error of `noise / determinant` times its size in x_0, and of
        `signal / determinant` times its size in eps.
        """
        signal, noise = schedule.signal(t), schedule.noise(t)
        p, q = self._mix(signal, noise)
        return signal * q - noise * p

    def _mix(self, signal: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """The factors p and q of x_0 and eps in the prediction, in the shape of `signal`."""
        zero, one = torch.zeros_like(signal), torch.ones_like(signal)
        return {
            Parametrization.EPSILON: (zero, one),
            Parametrization.SAMPLE: (one, zero),
            Parametrization.V: (-noise, signal),
            Parametrization.VELOCITY: (-one, one),
        }[self]
