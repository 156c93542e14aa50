"""What CUDA's automatic mixed precision does otherwise than that of the CPU, on which a trace runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

IN_FLOAT32 = ("layer_norm", "group_norm", "softmax")
"""Functions that CUDA's autocast does in float32 and the CPU's in the dtype of their input.

Reference: torch's documentation, "CUDA Ops that can autocast to float32".
"""


@contextmanager
def autocast_of(device: str) -> Iterator[None]:
    """Within it, autocast on the CPU gives the dtypes that it has on a device.

    The functions are replaced, because a mode of torch is not active where checkpointing computes a block again.
    """
    before = {name: getattr(F, name) for name in IN_FLOAT32 if device == "cuda"}
    for name, function in before.items():
        setattr(F, name, _in_float32(function))
    try:
        yield
    finally:
        for name, function in before.items():
            setattr(F, name, function)


def _in_float32(function: Any) -> Any:
    def wide(*args: Any, **kwargs: Any) -> Any:
        if torch.is_autocast_enabled("cpu"):
            args = tuple(map(_wide, args))
            kwargs = {name: _wide(value) for name, value in kwargs.items()}
        return function(*args, **kwargs)

    return wide


def _wide(value: Any) -> Any:
    return value.float() if isinstance(value, Tensor) and value.is_floating_point() else value
