"""Selects the attention with which a network trains fastest."""

from __future__ import annotations

import torch
from torch import nn

SHORT = 1024
"""Number of tokens below which plain attention trains faster than torch's fused one in bfloat16 on a CPU. Forward and
backward pass with four heads: 64 tokens take 2.8 ms against 20 ms; 256 tokens 11 against 24; 1,024 tokens 134 against
120 (torch 2.13, AVX-512)."""


def use_plain_attention(network: nn.Module, tokens: int, device: str, dtype: torch.dtype) -> bool:
    """Replaces diffusers' fused attention by its plain one where that trains faster; returns whether it did.

    The backward pass of torch's fused attention is slow in bfloat16 on CPUs for short sequences. The two differ only by
    rounding.

    Args:
        network: a diffusers model; layers with another kind of attention are not changed.
        tokens: tokens of an image at the finest level: the number of latent cells.
        device: the type of the device, such as `cpu`.
        dtype: the dtype in which the network computes.
    """
    from diffusers.models.attention_processor import AttnProcessor, AttnProcessor2_0

    if device != "cpu" or dtype != torch.bfloat16 or tokens >= SHORT:
        return False
    layers = [layer for layer in network.modules() if isinstance(getattr(layer, "processor", None), AttnProcessor2_0)]
    for layer in layers:
        layer.set_processor(AttnProcessor())  # type: ignore[operator]  # of diffusers' Attention
    return bool(layers)
