"""Optimisers, and their state as plain tensors."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

Kind = Literal["adamw", "adafactor"]


def make_optimizer(network: nn.Module, kind: Kind, weight_decay: float) -> torch.optim.Optimizer:
    """An optimiser of the parameters that require a gradient; its learning rate is set at every step.

    AdamW, or Adafactor with the settings of Diffusion-DPO's code.
    """
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    if kind == "adamw":
        # betas and eps: torch's defaults, and those of the paper's code.
        return torch.optim.AdamW(parameters, lr=0.0, weight_decay=weight_decay, fused=True)
    from transformers.optimization import Adafactor

    return Adafactor(
        parameters, lr=0.0, clip_threshold=1.0, weight_decay=0.0, scale_parameter=False, relative_step=False
    )


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The state of every parameter as `{"<number>.<name>": tensor}`, numbers in float64."""
    state = optimizer.state
    return {
        f"{number}.{name}": value if isinstance(value, Tensor) else torch.tensor(value, dtype=torch.float64)
        for number, parameter in enumerate(_parameters(optimizer))
        for name, value in state[parameter].items()
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Restores the state that `optimizer_tensors` returned."""
    parameters = _parameters(optimizer)
    for key, value in tensors.items():
        number, name = key.split(".", 1)
        parameter = parameters[int(number)]
        plain: Any = value.item() if value.dtype == torch.float64 else value.to(parameter.device)
        optimizer.state[parameter][name] = plain


def _parameters(optimizer: torch.optim.Optimizer) -> list[nn.Parameter]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]
