"""The state of an optimiser, and the work of its update, on tensors without memory."""

from __future__ import annotations

import torch
from torch import nn

from palate.align.config import AlignConfig
from palate.align.estimate.trace import Trace, Work, measured
from palate.training.optimizer import make_optimizer

EIGHT_BIT_FROM = 4096
"""Numbers of the smallest tensor whose state bitsandbytes keeps in 8 bits."""


def optimizer_work(network: nn.Module, config: AlignConfig, trace: Trace) -> tuple[torch.optim.Optimizer, int, Work]:
    """An optimiser with its state, the bytes of that state, and the work of one update.

    The state of `adamw8bit` is two bytes a number and two float32 for each block of 256 (Dettmers et al. 2022,
    arXiv:2110.02861); in its place Adafactor's work is traced, which is small as well.
    """
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    eight = config.optimizer == "adamw8bit"
    before = trace.live
    optimizer = make_optimizer(network, "adafactor" if eight else config.optimizer, config.weight_decay)
    for parameter in trained:
        parameter.grad = torch.zeros_like(parameter)

    def update() -> None:
        torch.nn.utils.clip_grad_norm_(trained, config.clip)
        optimizer.step()

    update()
    _, work = measured(trace, update)
    optimizer.zero_grad()
    state = trace.live - before
    if eight:
        wanted = sum(8 * p.numel() if p.numel() < EIGHT_BIT_FROM else round(p.numel() * (2 + 8 / 256)) for p in trained)
        work.peak += wanted - state
        state = wanted
    return optimizer, state, work
