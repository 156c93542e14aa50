"""The product with a weight in few bits; it does not need bitsandbytes, so that an estimate can count it."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


class DequantizedProduct(torch.autograd.Function):
    """`x W^T + b`, where W is dequantised in both passes instead of being kept from one to the other."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: Any) -> Tensor:
        """The product [..., out] of x [..., in] and a layer with `dequantized` and `bias`."""
        ctx.layer = layer
        bias = layer.bias
        return F.linear(x, layer.dequantized(x.dtype), None if bias is None else bias.to(x.dtype))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        """The gradient with respect to x."""
        (gradient,) = gradients
        return gradient @ ctx.layer.dequantized(gradient.dtype), None
