"""Which device is used where none is named: the best one of the machine, in every stage."""

from __future__ import annotations


def best_device() -> str:
    """The kind of the best device of this machine, such as `cuda` or `mps`; `cpu` where there is no accelerator."""
    import torch

    accelerator = torch.accelerator.current_accelerator()
    return accelerator.type if accelerator and torch.accelerator.is_available() else "cpu"


def pick_device(device: str | None) -> str:
    """The device itself, or the best one where none is named."""
    return device or best_device()
