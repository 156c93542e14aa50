"""The device and the processes of a training, through accelerate."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch

from palate.core.device import best_device
from palate.core.errors import ConfigError, PalateError
from palate.training.trackers import require_tracker

if TYPE_CHECKING:
    from accelerate import Accelerator

Precision = Literal["auto", "bf16", "fp16", "fp32"]


def make_accelerator(device: str | None = None, tracker: str | None = None, folder: Path | None = None) -> Accelerator:
    """Accelerate's view of the device, the processes and the tracker.

    Args:
        device: such as cpu or cuda; the best one there is when left out.
        tracker: one of accelerate's, or none.
        folder: of the run, for the tracker.

    Raises:
        ConfigError: a device that is not there, or a tracker that is not installed.
    """
    from accelerate import Accelerator

    require_tracker(tracker)
    if device not in (None, "cpu", best_device()):
        fix = "leave device out to take the best there is; CUDA_VISIBLE_DEVICES picks one of several"
        raise ConfigError(f"no device {device!r} on this machine; {fix}")
    cpu = (device or best_device()) == "cpu"  # said, or else several processes on a CPU would not know of each other
    accelerator = Accelerator(cpu=cpu, log_with=tracker, project_dir=folder, mixed_precision="no")
    if not accelerator.is_main_process:
        os.environ["PALATE_PROGRESS"] = "0"  # one progress bar per run
    return accelerator


def compute_dtype(precision: Precision, device: str) -> torch.dtype:
    """The dtype in which a network computes.

    "auto" is bfloat16 where the hardware supports it, float16 on other CUDA devices (T4, V100), otherwise float32.
    """
    if precision == "auto":
        native = {
            "cuda": lambda: torch.cuda.is_bf16_supported(including_emulation=False),
            "cpu": torch.cpu._is_avx512_bf16_supported,
        }
        bf16 = native.get(device, lambda: False)()
        precision = "bf16" if bf16 else "fp16" if device == "cuda" else "fp32"
    return {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}[precision]


@contextmanager
def explain_memory(fix: str) -> Iterator[None]:
    """Turns an out-of-memory error of the device into a PalateError that says which options need less memory."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise PalateError(f"the device ran out of memory; give {fix}") from error


def micro_batch(batch: int, size: int | None, processes: int) -> int:
    """The number of examples in one forward pass.

    Args:
        batch: examples per step, over all processes.
        size: the requested number; a process's whole share when left out.
        processes: number of processes.

    Raises:
        ConfigError: the batch cannot be split evenly.
    """
    size = size or max(1, batch // processes)
    if batch % (size * processes):
        raise ConfigError(
            f"batch ({batch}) must be a multiple of micro_batch x processes ({size} x {processes}); change one of them"
        )
    return size
