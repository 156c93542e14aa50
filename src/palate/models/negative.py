"""A negative model: another network in the place of the unconditional branch of guidance (Diffusion-NPO).

Diffusers' pipelines guide in one of two ways: a call of the network has both halves, that of the negative prompt first;
or it is called twice at each time, for the prompt first. An adapter says which (`Adapter.guidance_passes`).

Reference: "Diffusion-NPO: Negative Preference Optimization for Better Preference Aligned Generation of Diffusion
Models", ICLR 2025, whose negative model has learned reversed preferences.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

GuidancePasses = Literal["halves", "turns"] | None
"""How a pipeline guides: `halves` in one call, `turns` in two, the prompt's first; None for another way."""


def use_negative(network: nn.Module, negative: nn.Module, passes: GuidancePasses) -> None:
    """Lets a network's calls for the negative prompt go to another network, from now on.

    Args:
        network: the network of a pipeline that will always guide.
        negative: a network with the same inputs and outputs.
        passes: how the pipeline guides.
    """
    positive, turns = network.forward, _Turns()

    def forward(*args: Any, **kwargs: Any) -> Any:
        if passes == "turns":
            return (positive if turns.is_first(args, kwargs) else negative)(*args, **kwargs)
        rows = len(_latents(args, kwargs))
        first, second = ((_half((args, kwargs), rows, which)) for which in (0, 1))
        return _joined(negative(*first[0], **first[1]), positive(*second[0], **second[1]))

    network.forward = forward


class _Turns:
    """Tells the first call at a time from the second."""

    def __init__(self) -> None:
        self._time: Any = None

    def is_first(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        """Whether this call is the first at its time."""
        time = kwargs["timestep"] if "timestep" in kwargs else args[1]
        time = time.flatten()[0].item() if isinstance(time, Tensor) else time
        self._time, same = (None, True) if time == self._time else (time, False)
        return not same


def _latents(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    return args[0] if args else kwargs["hidden_states" if "hidden_states" in kwargs else "sample"]


def _half(inputs: Any, rows: int, which: int) -> Any:
    """The inputs of one half of the rows; what has another number of rows belongs to both."""

    def part(value: Any) -> Any:
        split = isinstance(value, Tensor) and value.ndim > 0 and len(value) == rows
        return value.chunk(2)[which] if split else value

    return tree_map(part, inputs)


def _joined(first: Any, second: Any) -> Any:
    """The outputs of both halves as one: tensors, tuples of them, or diffusers' output classes."""
    if isinstance(first, Tensor):
        return torch.cat([first, second])
    if isinstance(first, dict):
        return type(first)(**{name: _joined(value, second[name]) for name, value in first.items()})
    return type(first)(_joined(*each) for each in zip(first, second, strict=True))
