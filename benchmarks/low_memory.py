"""What the options that save memory cost and give: bytes of weights and of optimisers' states, and a step's CPU time.

    python benchmarks/low_memory.py

Two random networks of about 200 M parameters: a transformer with the blocks of Stable Diffusion 3, whose parameters are
nearly all in linear layers, and a UNet with those of Stable Diffusion 1.5, two thirds of which are convolutions. A step
is one forward and backward pass of a LoRA of rank 16 on the transformer, four images of 256 tokens. Needs 2 GiB.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, get_args

import torch
from diffusers import SD3Transformer2DModel, UNet2DConditionModel
from torch import nn

from palate.models.lora import add_lora
from palate.models.quantize import Bits, quantize_network
from palate.models.quiet import quiet_libraries
from palate.training.optimizer import Kind, make_optimizer, optimizer_tensors

MIB = 2**20
STEPS = 4


def transformer() -> nn.Module:
    """A network of 252 M parameters."""
    return SD3Transformer2DModel(
        sample_size=64,
        num_layers=12,
        attention_head_dim=64,
        num_attention_heads=12,
        joint_attention_dim=1024,
        caption_projection_dim=768,
        pooled_projection_dim=1024,
        pos_embed_max_size=64,
    )


def unet() -> nn.Module:
    """A network of 220 M parameters."""
    settings: dict[str, Any] = {
        "block_out_channels": (160, 320, 640, 640),
        "down_block_types": ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
        "up_block_types": ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
    }
    return UNet2DConditionModel(sample_size=64, cross_attention_dim=768, attention_head_dim=8, **settings)


def weights(make: Callable[[], nn.Module], bits: Bits | None, dtype: torch.dtype) -> nn.Module:
    """A frozen network whose weights are in a dtype or in few bits."""
    network = make().to(dtype).requires_grad_(False)
    if bits:
        quantize_network(network, bits, "cpu")
    return network


def size(network: nn.Module) -> float:
    """The MiB of a network's weights, the scales of quantised ones included."""
    found = [*network.parameters(), *network.buffers()]
    for each in list(found):
        for kept in (getattr(each, "quant_state", None), getattr(getattr(each, "quant_state", None), "state2", None)):
            found += [kept.absmax, kept.code] if kept is not None else []
        if (scales := getattr(each, "SCB", None)) is not None:
            found.append(scales)
    return sum(each.nbytes for each in found) / MIB


def step_seconds(network: nn.Module) -> float:
    """The least CPU time of a step."""
    add_lora(network, 16, 16, ("to_q", "to_k", "to_v", "to_out.0"))
    latents, times = torch.randn(4, 16, 32, 32), torch.full((4,), 500.0)
    prompts, pooled = torch.randn(4, 77, 1024).bfloat16(), torch.randn(4, 1024).bfloat16()
    found = []
    for _ in range(STEPS):
        begun = time.process_time()
        with torch.autocast("cpu", torch.bfloat16):
            predicted = network(latents, prompts, pooled, times).sample
        predicted.float().square().mean().backward()
        found.append(time.process_time() - begun)
    return min(found)


def state_mib(kind: Kind) -> float:
    """The MiB of an optimiser's state for 21 M parameters."""
    network = nn.Sequential(*[nn.Linear(1024, 1024) for _ in range(20)])
    optimizer = make_optimizer(network, kind, 0.01)
    for parameter in network.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    return sum(each.nbytes for each in optimizer_tensors(optimizer).values()) / MIB


def main() -> None:
    """Prints one line for each measurement."""
    torch.manual_seed(0)
    ways: dict[str, tuple[Bits | None, torch.dtype]] = {"fp32": (None, torch.float32), "bf16": (None, torch.bfloat16)}
    ways |= {bits: (bits, torch.bfloat16) for bits in get_args(Bits)}
    for name, (bits, dtype) in ways.items():
        sizes = [f"{make.__name__} {size(weights(make, bits, dtype)):.0f} MiB" for make in (transformer, unet)]
        seconds = f"{step_seconds(weights(transformer, bits, dtype)):.2f} s" if name != "fp32" else "not measured"
        print(f"weights in {name}: {', '.join(sizes)}; a step in bf16: {seconds}", flush=True)
    for kind in get_args(Kind):
        print(f"state of {kind} for 21 M parameters: {state_mib(kind):.1f} MiB", flush=True)


if __name__ == "__main__":
    with quiet_libraries():
        main()
