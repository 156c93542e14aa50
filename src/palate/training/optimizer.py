"""Optimisers, and their state as plain tensors."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from palate.core.bitsandbytes_check import require_bitsandbytes

Kind = Literal["adamw", "adamw8bit", "adafactor"]


def make_optimizer(network: nn.Module, kind: Kind, weight_decay: float) -> torch.optim.Optimizer:
    """An optimiser of the parameters that require a gradient; its learning rate is set at every step.

    AdamW, AdamW whose state is in 8 bits, or Adafactor with the settings of Diffusion-DPO's code. The state of tensors
    of fewer than 4,096 numbers stays in float32 (bitsandbytes' default), and bitsandbytes waits for the device after
    each tensor.

    Reference: Dettmers et al. 2022, "8-bit optimizers via block-wise quantization" (arXiv:2110.02861).
    """
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    if kind == "adamw":
        # betas and eps: torch's defaults, and those of the paper's code.
        return torch.optim.AdamW(parameters, lr=0.0, weight_decay=weight_decay, fused=True)
    if kind == "adamw8bit":
        from bitsandbytes.optim import AdamW8bit

        return AdamW8bit(parameters, lr=0.0, weight_decay=weight_decay)
    from transformers.optimization import Adafactor

    return Adafactor(
        parameters, lr=0.0, clip_threshold=1.0, weight_decay=0.0, scale_parameter=False, relative_step=False
    )


def require_optimizer(kind: Kind, device: str) -> None:
    """Raises ConfigError if an optimiser needs a library that is not installed or does not work on a device."""

    def one_step() -> None:
        network = nn.Linear(64, 64).to(device)
        for parameter in network.parameters():
            parameter.grad = torch.ones_like(parameter)
        make_optimizer(network, kind, 0.0).step()

    if kind == "adamw8bit":
        require_bitsandbytes(f"--optimizer {kind}", device, one_step)


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The state of every parameter as `{"<number>.<name>": tensor}`, numbers in int64 or float64.

    No two tensors share memory, which safetensors would refuse: bitsandbytes has one table of levels for all.
    """
    tensors, seen = {}, set()
    for number, parameter in enumerate(_parameters(optimizer)):
        for name, value in optimizer.state[parameter].items():
            tensor = value if isinstance(value, Tensor) else torch.tensor(value, dtype=_dtype(value))
            tensors[f"{number}.{name}"] = tensor.clone() if tensor.data_ptr() in seen else tensor
            seen.add(tensor.data_ptr())
    return tensors


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Restores the state that `optimizer_tensors` returned."""
    parameters = _parameters(optimizer)
    for key, value in tensors.items():
        number, name = key.split(".", 1)
        parameter = parameters[int(number)]
        plain: Any = value.item() if value.dtype in (torch.int64, torch.float64) else value.to(parameter.device)
        optimizer.state[parameter][name] = plain


def _dtype(number: float) -> torch.dtype:
    return torch.int64 if isinstance(number, int) else torch.float64


def _parameters(optimizer: torch.optim.Optimizer) -> list[nn.Parameter]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]
