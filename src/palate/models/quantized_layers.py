"""Linear layers whose weights are in few bits. Imports bitsandbytes, so it is imported only where they are used.

They are bitsandbytes' layers, which peft knows, with another forward pass: the weight is dequantised and multiplied, on
every device and with or without gradients. Bitsandbytes' own pass may also quantise the inputs to 8 bits (on CUDA), may
treat a column differently when another row of the batch has an outlier in it, and has other kernels for passes without
gradients; then an image's error under the reference would depend on what else is in its batch.
"""

from __future__ import annotations

from typing import Any

import torch
from bitsandbytes.functional import dequantize_4bit
from bitsandbytes.nn import Int8Params, Linear4bit, Linear8bitLt, Params4bit
from torch import Tensor, nn

from palate.models.dequantized_product import DequantizedProduct


class Linear8Bits(Linear8bitLt):
    """A frozen linear layer of which each row is a row of int8 times one factor."""

    def dequantized(self, dtype: torch.dtype) -> Tensor:
        """The weight [out, in]."""
        weight: Any = self.weight
        return (weight.data * (weight.SCB / 127).unsqueeze(1)).to(dtype)

    def forward(self, x: Tensor) -> Tensor:
        """The layer's output [..., out] of inputs [..., in]."""
        return _multiplied(x, self)


class Linear4Bits(Linear4bit):
    """A frozen linear layer in blocks of NF4."""

    def dequantized(self, dtype: torch.dtype) -> Tensor:
        """The weight [out, in]."""
        weight: Any = self.weight
        return dequantize_4bit(weight.data, weight.quant_state).to(dtype)

    def forward(self, x: Tensor) -> Tensor:
        """The layer's output [..., out] of inputs [..., in]."""
        return _multiplied(x, self)


def quantized(layer: nn.Linear, bits: str, device: torch.device | str) -> nn.Module:
    """A linear layer with its weight in 8 or 4 bits, on a device."""
    shape = layer.in_features, layer.out_features, layer.bias is not None
    weight, frozen = layer.weight.data, {"requires_grad": False}
    if bits == "8bit":
        own: dict[str, Any] = {"has_fp16_weights": False}
        new: Any = Linear8Bits(*shape, **own, device="meta")
        new.weight = Int8Params(weight, **frozen, **own)
    else:
        own = {"quant_type": "nf4"}
        new = Linear4Bits(*shape, **own, compute_dtype=weight.dtype, device="meta")
        new.weight = Params4bit(weight, **frozen, **own)
    new.bias = layer.bias
    return new.requires_grad_(False).to(device)


def _multiplied(x: Tensor, layer: Linear8Bits | Linear4Bits) -> Tensor:
    kind = x.device.type
    if torch.is_autocast_enabled(kind):
        x = x.to(torch.get_autocast_dtype(kind))
    product: Any = DequantizedProduct.apply(x, layer)
    return product
