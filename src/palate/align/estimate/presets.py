"""Settings with which a training fits a graphics card of a given memory."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace
from typing import Any

import torch

from palate.align.config import AlignConfig
from palate.align.estimate.machine import CUDA_CONTEXT
from palate.align.estimate.stages import Setting, trace_stages
from palate.align.methods.method import Method
from palate.core.errors import InputError
from palate.models.families import adapter_of, sizes_of
from palate.models.source import ModelSource, resolve
from palate.models.weightless import configuration_source

CARDS = {"8gb": 8, "12gb": 12, "24gb": 24, "80gb": 80}
"""GiB of memory of the cards of each preset."""
MARGIN = 0.1
"""Share of a card's memory that a preset leaves free: a screen, fragmentation, and errors of the estimate."""
SIZES = (8, 4, 2, 1)
"""Micro-batches that are tried; larger ones gain little speed on these cards (ours)."""
PROMPT = " ".join(["a photograph of a small red house"] * 12)
"""A prompt longer than most, about 84 words."""
LADDER: tuple[dict[str, Any], ...] = (
    {"gradient_checkpointing": False, "quantize": None, "optimizer": "adamw"},
    {"gradient_checkpointing": True, "quantize": None, "optimizer": "adamw"},
    {"gradient_checkpointing": True, "quantize": "8bit", "optimizer": "adamw"},
    {"gradient_checkpointing": True, "quantize": "4bit", "optimizer": "adamw8bit"},
)
"""What is tried for a LoRA, the fastest first: checkpointing costs about a third more time, dequantising a little more.
The state of a LoRA's optimiser is small, so it is in 8 bits only on the smallest cards."""
FULL_LADDER: tuple[dict[str, Any], ...] = tuple(
    {"gradient_checkpointing": checkpointing, "optimizer": optimizer}
    for optimizer in ("adamw", "adamw8bit", "adafactor")
    for checkpointing in (False, True)
)
"""What is tried for all weights."""


def preset_settings(
    config: AlignConfig, method: Method[Any] | None = None, given: Collection[str] = ()
) -> dict[str, Any]:
    """The settings of a preset for a model: the first of the ladder whose estimated memory fits the card.

    Args:
        config: the configuration, whose `preset` names the card.
        method: the method; the configuration's own when left out.
        given: names of the fields that the user gave, which keep their values.

    Returns:
        micro_batch, gradient_checkpointing, quantize, optimizer and encode_on by name, without the given ones.

    Raises:
        InputError: the training fits the card with none of them; the message has the memory of the smallest.
    """
    assert config.preset
    card = CARDS[config.preset] * 2**30
    limit = int(card * (1 - MARGIN)) - CUDA_CONTEXT
    method = method or config.method()
    source = configuration_source(resolve(config.model))
    adapter_of(source)
    smallest: int | None = None
    for tried in _tried(config, given):
        encode, *stages = trace_stages(tried, source, _setting(tried, method, source))
        fixed = max(stage.weights + stage.state for stage in stages)
        one = max(stage.working for stage in stages)
        room = limit - fixed
        smallest = min(smallest or fixed + one, fixed + one)
        fits = [size for size in _sizes(config, given) if one * size <= room * (tried.micro_batch or 1)]
        if fits:
            on = {"encode_on": "device" if encode.bytes <= limit else "cpu"}
            if tried.latents == "streamed" and on["encode_on"] == "cpu":
                on = {}
            chosen = {name: getattr(tried, name) for name in ("gradient_checkpointing", "quantize", "optimizer")}
            return {
                name: value for name, value in {"micro_batch": fits[0], **chosen, **on}.items() if name not in given
            }
    needs = ((smallest or 0) + CUDA_CONTEXT) / (1 - MARGIN) / 2**30
    side = max(config.resolutions(sizes_of(source).native))
    raise InputError(
        f"{config.model} at {side} pixels (--train {config.train}) does not fit a card of {CARDS[config.preset]} GiB: "
        f"the smallest settings need one of {needs:.1f} GiB; give a larger preset or a lower --resolution"
    )


def _tried(config: AlignConfig, given: Collection[str]) -> Iterator[AlignConfig]:
    """The configurations of the ladder, with a micro-batch of one unless it is given; none twice."""
    seen = []
    for settings in LADDER if config.train == "lora" else FULL_LADDER:
        free = {name: value for name, value in settings.items() if name not in given}
        size = {} if "micro_batch" in given else {"micro_batch": 1}
        tried = replace(config, **free, **size)
        if tried not in seen:
            seen.append(tried)
            yield tried


def _sizes(config: AlignConfig, given: Collection[str]) -> list[int]:
    if "micro_batch" in given:
        return [config.micro_batch or config.batch]
    return [size for size in SIZES if config.batch % size == 0]


def _setting(config: AlignConfig, method: Method[Any], source: ModelSource) -> Setting:
    """A training on pairs; every CUDA card has a precision of two bytes, which `auto` chooses."""
    dtype = torch.float32 if config.precision == "fp32" else torch.bfloat16
    side = max(config.resolutions(sizes_of(source).native))
    size = config.micro_batch or config.batch
    return Setting("cuda", dtype, side, 2, size, method.measures_base, (PROMPT,), bool(method.follows))
