"""A network's frozen linear layers in 8 or 4 bits, as `models.quantize` keeps them, on tensors without memory."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from palate.models.dequantized_product import DequantizedProduct
from palate.models.quantize import Bits


class FewBits(nn.Linear):
    """Stands for a quantised linear layer: the weight is dequantised in both passes, and neither keeps it.

    Its parameter still has its unquantised size, because a trace has no integers without memory; see
    `saved_by_quantizing`.
    """

    bits: Bits

    def forward(self, input: Tensor) -> Tensor:
        """The layer's output [..., out] of inputs [..., in]."""
        if torch.is_autocast_enabled("cpu"):
            input = input.to(torch.get_autocast_dtype("cpu"))
        product: Any = DequantizedProduct.apply(input, self)
        return product

    def dequantized(self, dtype: torch.dtype) -> Tensor:
        """The weight [out, in], as new tensors."""
        wide = torch.empty_like(self.weight, dtype=torch.float32 if self.bits == "8bit" else self.weight.dtype)
        return wide.to(dtype)


def in_few_bits(network: nn.Module, bits: Bits) -> None:
    """Makes each linear layer that would be quantised a `FewBits`."""
    for layer in _layers(network):
        layer.__class__ = FewBits
        layer.bits = bits  # type: ignore[assignment]


def saved_by_quantizing(network: nn.Module, bits: Bits) -> int:
    """The bytes by which a network's weights get smaller.

    8 bits: a byte for each number and a float32 for each row. 4 bits: half a byte for each number, a byte for the scale
    of each block of 64, and a float32 for each 256 of these.
    """
    saved = 0.0
    for layer in _layers(network):
        numbers = layer.weight.numel()
        few = numbers + 4 * layer.out_features if bits == "8bit" else numbers * (1 / 2 + 1 / 64 + 4 / (64 * 256))
        saved += numbers * layer.weight.element_size() - few
    return int(saved)


def _layers(network: nn.Module) -> list[nn.Linear]:
    kept = set(getattr(network, "_keep_in_fp32_modules", None) or ())
    found = network.named_modules()
    return [layer for name, layer in found if type(layer) is nn.Linear and not kept & set(name.split("."))]
