"""Loss scaling, without which the gradients of a network that computes in float16 become zero or infinite."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from palate.objectives.metrics import Metrics, PartialMetric

SMALLEST = 1.0
"""A scale below this makes gradients smaller than they are: they overflow by themselves. DeepSpeed stops there too
(`min_loss_scale`)."""


class LossScale:
    """A factor by which the loss is multiplied, as a power of two that follows the size of the gradients.

    It starts at 2^16, is halved by a step whose gradients overflow, and is doubled after 2000 steps in which none did
    (the defaults of torch's `GradScaler`, which does the work). A step whose gradients overflow changes no weight.

    Args:
        device: the type of the device, such as `cuda`.

    Reference: Micikevicius et al. 2017 (arXiv:1710.03740), section 3.2.
    """

    def __init__(self, device: str) -> None:
        self._scaler = torch.amp.GradScaler(device)

    @classmethod
    def of(cls, dtype: torch.dtype, device: torch.device) -> LossScale | None:
        """The loss scale of a network that computes in some dtype: None unless it is float16."""
        return cls(device.type) if dtype == torch.float16 else None

    def scaled(self, loss: Tensor) -> Tensor:
        """The loss, multiplied by the scale."""
        return self._scaler.scale(loss)

    def unscale(self, optimizer: torch.optim.Optimizer) -> None:
        """Divides the gradients by the scale, and notes whether one of them is not finite."""
        self._scaler.unscale_(optimizer)

    def update(self, optimizer: torch.optim.Optimizer, norm: Tensor) -> Metrics:
        """A step of the optimiser unless gradients overflowed; then the scale changes.

        All processes do the same, as they have the same averaged gradients. It waits for the device only if the
        optimiser cannot skip a step by itself: torch's fused AdamW can, Adafactor and AdamW in 8 bits cannot.

        Args:
            optimizer: the optimiser whose gradients `unscale` divided.
            norm: the norm of its gradients [1].

        Returns:
            `gradient_norm` of a step that was not skipped, `skipped`, 1 or 0, and `loss_scale` before the change; all
            [1].
        """
        scale = self._scaler.scale(torch.ones_like(norm))
        self._scaler.step(optimizer)
        self._scaler.update()
        finite = norm.isfinite()
        return {"gradient_norm": PartialMetric(norm, finite), "skipped": (~finite).float(), "loss_scale": scale}

    @property
    def collapsed(self) -> bool:
        """Whether the scale has become smaller than a network that can be trained needs; waits for the device."""
        return self._scaler.get_scale() < SMALLEST

    def state(self) -> dict[str, Any]:
        """The scale and the number of steps since it changed, for a checkpoint; waits for the device."""
        return self._scaler.state_dict()

    def restore(self, state: dict[str, Any]) -> None:
        """Takes back what `state` returned."""
        self._scaler.load_state_dict(state)
