"""Low-rank adapters on a denoiser's network (Hu et al. 2021, arXiv:2106.09685), through peft."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from palate.core.errors import InputError
from palate.core.seeds import derive
from palate.models.denoiser import Denoiser
from palate.models.peft_lora import save_peft
from palate.models.source import ModelSource


def add_lora(
    network: nn.Module, rank: int, alpha: float, targets: tuple[str, ...], seed: int = 0, **forms: bool
) -> None:
    """Freezes a network and adds a trainable float32 adapter that does not change its output at first.

    `W x + (alpha / rank) B A x`, with A drawn from N(0, 1/rank^2), keyed by the seed, and B zero.

    Args:
        network: a diffusers model.
        rank: rank of the adapter.
        alpha: the adapter's scale times its rank.
        targets: endings of the names of the layers that get an adapter.
        seed: seed of the run.
        forms: peft's `use_dora` (arXiv:2402.09353) and `use_rslora` (arXiv:2312.03732).

    Raises:
        InputError: a target is not the name of a linear or convolutional layer.
    """
    from peft import LoraConfig, inject_adapter_in_model

    layers = [name for name, layer in network.named_modules() if isinstance(layer, (nn.Linear, nn.Conv2d))]
    for target in targets:
        if not any(name == target or name.endswith(f".{target}") for name in layers):
            raise InputError(f"no layer of the network is named {target!r}; a possible LoRA target is {layers[-1]!r}")
    names = [each for target in targets for each in _unambiguous(target, network, layers)]
    network.requires_grad_(False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, "lora"))
        scale: Any = alpha  # peft declares an int, but takes any number
        start: Any = {"init_lora_weights": "gaussian", **forms}
        config = LoraConfig(r=rank, lora_alpha=scale, target_modules=names, **start)
        if hasattr(network, "add_adapter"):
            network.add_adapter(config)  # type: ignore[operator]  # of diffusers' PeftAdapterMixin
        else:
            inject_adapter_in_model(config, network)
    for parameter in network.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()


def _unambiguous(target: str, network: nn.Module, layers: list[str]) -> list[str]:
    """A target as peft takes it: replaced by the whole names of its layers if it is also the end of another's name.

    In FLUX.2 `to_out` is a layer of some blocks and a list of layers in others, which has no adapter.
    """
    ends = f".{target}"
    others = {name for name, _ in network.named_modules() if name.endswith(ends)} - set(layers)
    return [name for name in layers if name.endswith(ends)] if others else [target]


@contextmanager
def without_adapter(network: nn.Module) -> Iterator[None]:
    """Disables the adapter inside the block, so that the network is the base model again."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    layers = [layer for layer in network.modules() if isinstance(layer, BaseTunerLayer)]
    for layer in layers:
        layer.enable_adapters(False)
    try:
        yield
    finally:
        for layer in layers:
            layer.enable_adapters(True)


def save_lora(denoiser: Denoiser, network: nn.Module, folder: Path, source: ModelSource) -> None:
    """Writes the adapter as `pytorch_lora_weights.safetensors`, the file that `pipeline.load_lora_weights` reads.

    For a pipeline that does not load LoRAs it is written in peft's own format, see `peft_lora`.

    Args:
        denoiser: the model.
        network: its network, with the adapter.
        folder: where to write.
        source: the model that was trained, for the README of peft's format.
    """
    if not hasattr(denoiser.pipeline, "save_lora_weights"):
        return save_peft(network, folder, type(denoiser.pipeline).__name__, denoiser.part, source)
    from diffusers.training_utils import _collate_lora_metadata
    from peft import get_peft_model_state_dict

    layers = {name: value.contiguous() for name, value in get_peft_model_state_dict(network).items()}
    denoiser.pipeline.save_lora_weights(
        folder, **{f"{denoiser.part}_lora_layers": layers}, **_collate_lora_metadata({denoiser.part: network})
    )
    return None
