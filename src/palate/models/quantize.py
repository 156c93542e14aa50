"""Keeps the frozen linear layers of a network in 8 or 4 bits, through bitsandbytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import nn

from palate.core.bitsandbytes_check import require_bitsandbytes
from palate.core.cache_folder import library_versions

Bits = Literal["8bit", "4bit"]


def require_quantization(bits: Bits | None, device: str) -> None:
    """Raises ConfigError if bitsandbytes is needed and is not installed or does not work on a device."""

    def one_pass() -> None:
        network = nn.Sequential(nn.Linear(64, 64))
        assert bits
        quantize_network(network, bits, device)
        network(torch.ones(1, 64, device=device))

    if bits:
        require_bitsandbytes(f"--quantize {bits}", device, one_pass)


def quantization_identity(bits: Bits | None) -> tuple[str, ...]:
    """What a cache's name contains if its numbers come from a quantised network; nothing if they do not."""
    return (bits, library_versions("bitsandbytes")) if bits else ()


def quantize_network(network: nn.Module, bits: Bits, device: torch.device | str) -> None:
    """Quantises the weights of the linear layers of a network, which must be frozen, and moves it to a device.

    8 bits: one scale for each row (the largest number of a row is 127). 4 bits: the 16 levels of NF4, one scale for
    each block of 64 numbers, and the scales in 8 bits. Biases, convolutions, norms and the layers that diffusers keeps
    in float32 are not changed. Layers are moved one by one, so the device never holds the whole network unquantised.

    Args:
        network: a diffusers model; peft then adds an adapter to it as to any other.
        bits: 8bit or 4bit.
        device: where the network goes.

    Reference: Dettmers et al. 2022 (arXiv:2208.07339), section 2.1; Dettmers et al. 2023, "QLoRA" (arXiv:2305.14314),
    section 3.
    """
    from palate.models.quantized_layers import quantized

    kept: Sequence[str] = getattr(network, "_keep_in_fp32_modules", None) or ()
    layers = [(name, layer) for name, layer in network.named_modules() if type(layer) is nn.Linear]
    for name, layer in layers:
        if not set(kept) & set(name.split(".")):
            network.set_submodule(name, quantized(layer, bits, device))
    marked: Any = network
    setattr(marked, f"is_loaded_in_{bits}", True)  # where peft looks
    network.to(device)
