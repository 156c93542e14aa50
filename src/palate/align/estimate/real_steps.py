"""The time of the parts of a run of a small model: they are done, on the model itself.

An operation that is timed by itself finds its data in the processor's cache, and nothing between two operations is
counted. For a large model both are little; a step of a small one takes half as long again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import torch

from palate.align.config import AlignConfig
from palate.align.encoders import PROMPTS_AT_ONCE
from palate.align.estimate.calibrate import Clock
from palate.align.estimate.stages import Setting, encoders_at_once, errors_of, step_loss
from palate.align.reference_errors import REFERENCE_AT_ONCE
from palate.align.stage import make_trainable
from palate.models.attention import use_plain_attention
from palate.models.load import load_denoiser
from palate.models.source import ModelSource
from palate.training.optimizer import make_optimizer

SMALL = 2**30
"""Bytes of a model's files up to which its parts are done instead of being computed from their operations."""
REPEATS = 5


def real_seconds(
    config: AlignConfig, source: ModelSource, setting: Setting, device: torch.device, clock: Clock = time.perf_counter
) -> Mapping[str, float]:
    """The seconds of each part of a run, by the names of `RunStage.parts`: an image, a batch of prompts, a forward pass
    of the reference, a micro-batch, and an update; and `load`, of the encoders, which imports what a run needs.

    Args:
        config: the configuration of the run.
        source: the model, with its weights.
        setting: where and on what it works.
        device: where.
        clock: by which a part is timed, in seconds.
    """
    weights = setting.dtype if config.train == "lora" else torch.float32
    begun = clock()
    encoders = load_denoiser(source, device=device, without=(source.network,))
    loaded = clock() - begun
    at_once = encoders_at_once(source, setting.resolution)
    pixels = torch.zeros(at_once, 3, setting.resolution, setting.resolution)
    texts = [setting.prompts[place % len(setting.prompts)] for place in range(PROMPTS_AT_ONCE)]
    found = {
        "load": loaded,
        "image": _seconds(lambda: encoders.encode(pixels), device, clock) / at_once,
        "prompts": _seconds(lambda: encoders.encode_prompt(texts), device, clock),
    }
    latents, conditioning = encoders.encode(pixels[:1]), encoders.encode_prompt(texts).to(device, setting.dtype)
    denoiser = load_denoiser(source, device=device, dtype=weights, without=source.encoders(), quantize=config.quantize)
    network = denoiser.network.eval()
    use_plain_attention(network, latents[0, 0].numel(), device.type, setting.dtype)

    def errors(rows: int) -> torch.Tensor:
        return errors_of(denoiser, setting, latents, conditioning, rows)

    with torch.no_grad():
        found["forward"] = _seconds(lambda: errors(REFERENCE_AT_ONCE * setting.micro_batch), device, clock)
    make_trainable(network, config, denoiser.lora_targets)
    rows = setting.micro_batch * setting.images
    found["micro-batch"] = _seconds(lambda: step_loss(lambda: errors(rows), setting).backward(), device, clock)
    optimizer = make_optimizer(network, config.optimizer, config.weight_decay)
    found["update"] = _seconds(optimizer.step, device, clock)
    return found


def _seconds(call: Callable[[], object], device: torch.device, clock: Clock) -> float:
    """The median of a few times, after one that prepares."""
    times = []
    for _ in range(REPEATS + 1):
        begun = clock()
        call()
        if device.type != "cpu":
            torch.accelerator.synchronize(device)
        times.append(clock() - begun)
    return sorted(times[1:])[REPEATS // 2]
