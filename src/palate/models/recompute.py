"""Gradient checkpointing of networks whose blocks diffusers calls with arguments that it loses or does not take."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def recomputed(network: Any, call: Callable[..., Any]) -> Iterator[None]:
    """Within it, `call` runs each block whose activations are recomputed; nothing happens without checkpointing.

    Args:
        network: a diffusers model, not wrapped.
        call: is given diffusers' function, which takes a block and its positional arguments, and what the network
            gives to that function: a block, positional and named arguments.
    """
    if not network.gradient_checkpointing:
        yield
        return
    checkpoint = network._gradient_checkpointing_func
    network._gradient_checkpointing_func = lambda block, *given, **named: call(checkpoint, block, *given, **named)
    try:
        yield
    finally:
        network._gradient_checkpointing_func = checkpoint


def by_name(checkpoint: Any, block: Any, *given: Any, **named: Any) -> Any:
    """Recomputes a block that is given arguments by name, which diffusers' function (0.42) does not take."""
    return checkpoint(lambda *inputs: block(*inputs, **named), *given)
