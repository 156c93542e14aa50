"""The device of a stage: the one that the user names, or the best one of the machine."""

from __future__ import annotations

from palate.core.errors import ConfigError


def best_device() -> str:
    """The kind of the best device of this machine, such as `cuda` or `mps`; `cpu` where there is no accelerator."""
    import torch

    accelerator = torch.accelerator.current_accelerator()
    return accelerator.type if accelerator and torch.accelerator.is_available() else "cpu"


def pick_device(device: str | None) -> str:
    """The named device, or the best one where none is named.

    Args:
        device: such as `cpu`, `cuda` or `cuda:1`.

    Raises:
        ConfigError: this machine has no such device.
    """
    import torch

    best = best_device()
    if device is None:
        return best
    kind, _, number = device.partition(":")
    count = torch.accelerator.device_count() if kind == best != "cpu" else 1
    if kind not in ("cpu", best) or (number and not (number.isdigit() and int(number) < count)):
        raise ConfigError(f"no device {device!r} on this machine; leave device out to take the best there is ({best})")
    return device
