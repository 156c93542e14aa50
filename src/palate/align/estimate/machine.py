"""The memory of this machine: what is free, what a process needs before any tensor, and the files of a model."""

from __future__ import annotations

import time
from pathlib import Path

import psutil
import torch

from palate.models.parts import PLAIN, variants
from palate.models.source import UNUSED, ModelSource

CUDA_CONTEXT = 600 * 2**20
"""Memory that a process takes on a CUDA device before its first tensor: the context and cuBLAS's workspace (ours)."""
GROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")


def available_memory(device: torch.device) -> int:
    """Bytes that this process can have on a device, with those that it has already."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free + CUDA_CONTEXT
    free = psutil.virtual_memory().available + psutil.Process().memory_info().rss
    if device.type == "cpu" and GROUP_LIMIT.is_file() and (limit := GROUP_LIMIT.read_text().strip()).isdigit():
        free = min(free, int(limit))
    return free


def overhead(device: torch.device) -> int:
    """Bytes that a process takes on a device without any tensor.

    On a CPU it is the memory of this process, which has imported what a run imports.
    """
    return CUDA_CONTEXT if device.type == "cuda" else psutil.Process().memory_info().rss


def weight_files(source: ModelSource) -> dict[str, int]:
    """The bytes of the weights on disk of each part of a model; empty if only its configurations are there."""
    found = {
        name: variants(source.folder / name) for name, kind in source.parts().items() if kind and name not in UNUSED
    }
    chosen = {name: kinds.get(PLAIN) or next(iter(kinds.values())) for name, kinds in found.items() if kinds}
    return {name: sum(file.stat().st_size for file in files) for name, files in chosen.items()}


def time_since_start() -> float:
    """Seconds since this process began: what a run also needs to start."""
    return time.time() - psutil.Process().create_time()
