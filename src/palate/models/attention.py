"""Selects the attention with which a network trains fastest."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

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

    class PlainAttention(AttnProcessor):
        """Diffusers' plain attention, also with a mask [B, 1, L, L] of booleans, which only the fused one takes."""

        def __call__(self, attn: Any, hidden_states: Tensor, attention_mask: Tensor | None = None, **more: Any) -> Any:
            if attention_mask is not None and attention_mask.dtype == torch.bool:
                hidden = torch.zeros_like(attention_mask, dtype=hidden_states.dtype)
                hidden = hidden.masked_fill(~attention_mask, -torch.inf)
                attention_mask = hidden.expand(-1, attn.heads, -1, -1).flatten(0, 1)  # [B heads, L, L]
            return super().__call__(attn, hidden_states, attention_mask=attention_mask, **more)

    if device != "cpu" or dtype != torch.bfloat16 or tokens >= SHORT:
        return False
    layers = [layer for layer in network.modules() if isinstance(getattr(layer, "processor", None), AttnProcessor2_0)]
    for layer in layers:
        layer.set_processor(PlainAttention())  # type: ignore[operator]  # of diffusers' Attention
    return bool(layers)
