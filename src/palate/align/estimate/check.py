"""The check of a run's memory before expensive work."""

from __future__ import annotations

import torch

from palate.align.config import AlignConfig
from palate.align.methods.method import Method
from palate.models.source import ModelSource

SMALL = 0.02
"""Share of the free memory: a model whose weights take less on disk is not checked, as a trace takes seconds."""


def check_run(config: AlignConfig, method: Method, source: ModelSource, device: torch.device, processes: int) -> None:
    """Estimates the memory of a run and refuses one that clearly does not fit; a small model is not checked.

    Raises:
        InputError: the run needs clearly more memory than is free.
    """
    from palate.align.estimate.machine import available_memory, weight_files

    if not config.check_memory or sum(weight_files(source).values()) < SMALL * available_memory(device):
        return
    from palate.align.estimate.estimate import estimate_run
    from palate.align.estimate.report import require_memory

    require_memory(estimate_run(config, method, processes, times=False), config)
