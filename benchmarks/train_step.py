"""Compares the time of a training step with the least possible time and with a simple loop.

    python benchmarks/train_step.py [--model tiny-sd] [--train lora full] [--batch 32] [--cpu-time]

In one process, alternately, for one batch of pairs:

- `step`: `Trainer.step`: draws, caches, forward pass, loss, backward pass, clipping, optimiser, metrics;
- `bare`: forward and backward pass of the policy on a prepared batch, and nothing else;
- `plain`: a loop as in public scripts: each step encodes its images and prompts and computes a reference network.

Prints the median of 15 turns, the quartiles, and the ratios: `step / bare` (aim: at most 1.15) and `plain / step`
(aim: at least 1.4 for full training, 1.6 for a LoRA).
"""

from __future__ import annotations

import argparse
import copy
import io
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from palate.align.batches import denoising_errors
from palate.align.methods.dpo import DPOConfig
from palate.align.methods.method import Measured
from palate.align.prepare import buckets_of, grid_of
from palate.align.stage import assemble
from palate.align.trainer import Trainer
from palate.core.runs import RunFolder
from palate.models.families import sizes_of
from palate.models.load import load_denoiser
from palate.models.lora import without_adapter
from palate.models.source import resolve
from palate.records.checked_set import checked_set
from palate.records.columns import Rankings
from palate.records.images import StoredImage
from palate.records.ranked import RankedSet
from palate.score.base import to_size
from palate.training.accelerator import make_accelerator

TURNS, WARM_UP = 15, 2


def main() -> None:
    parser = argparse.ArgumentParser(description="Times a cached training step.")
    parser.add_argument("--model", default="tiny-sd")
    parser.add_argument("--train", nargs="+", choices=["lora", "full"], default=["lora", "full"])
    parser.add_argument("--batch", type=int, default=32, help="pairs a step")
    parser.add_argument("--resolution", type=int)
    parser.add_argument("--precision", choices=["auto", "bf16", "fp32"], default="auto")
    parser.add_argument("--device")
    parser.add_argument("--cpu-time", action="store_true", help="CPU seconds instead of wall time, for a busy machine")
    options = parser.parse_args()
    clock = time.process_time if options.cpu_time else time.perf_counter
    for train in options.train:
        with tempfile.TemporaryDirectory() as folder:
            contenders = prepare(options, train, Path(folder))
            report(train, options.batch, take_turns(contenders, clock))


def prepare(options: argparse.Namespace, train: Any, folder: Path) -> dict[str, Callable[[int], None]]:
    """The three variants by name, each a function of the step."""
    source = resolve(options.model)
    resolution = options.resolution or sizes_of(source).native
    config = DPOConfig(
        model=options.model,
        preferences="",
        out=folder / "run",
        cache=folder / "cache",
        train=train,
        batch=options.batch,
        resolution=resolution,
        precision=options.precision,
        device=options.device,
        draws=1,
        steps=4 * (TURNS + WARM_UP),
    )
    sets = random_pairs(4 * options.batch, resolution)
    examples = config.method().examples(Rankings.of(map(checked_set, sets)))
    accelerator = make_accelerator(config.device)
    run = RunFolder.open(config.out, "align dpo", config)
    buckets = buckets_of(grid_of(config, source), examples)
    trainer = assemble(config, config.method(), source, examples, buckets, run, accelerator)
    images = to_size([examples.images[number].open() for number in range(len(examples.images))], resolution, resolution)
    return {"step": trainer.step, "bare": bare_step(trainer), "plain": plain_step(trainer, options.model, images)}


def random_pairs(count: int, resolution: int) -> list[RankedSet]:
    """Ranked pairs of noise."""
    pixels = np.random.default_rng(0).integers(0, 256, (count, 2, resolution, resolution, 3), dtype=np.uint8)
    return [
        RankedSet(f"a picture of number {i % 97}", tuple(png(each) for each in pair), (1, 2))
        for i, pair in enumerate(pixels)
    ]


def png(pixels: np.ndarray) -> StoredImage:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return StoredImage(buffer.getvalue())


def bare_step(trainer: Trainer) -> Callable[[int], None]:
    """Forward and backward pass on one prepared batch."""
    rows, draws = trainer.plan.step(0)
    views = trainer.batches.examples.view[rows]
    batch = trainer.batches.make(views.ravel(), draws.repeat(2)).to(trainer.accelerator.device)

    def step(number: int) -> None:
        denoising_errors(trainer.denoiser, batch, trainer.dtype).mean().backward()
        for parameter in trainer.learner.parameters:
            parameter.grad = None

    return step


def plain_step(trainer: Trainer, model: str, images: torch.Tensor) -> Callable[[int], None]:
    """Encodes images and prompts, computes policy and reference, and updates, all within the step."""
    device, examples, dtype = trainer.accelerator.device, trainer.batches.examples, trainer.dtype
    denoiser, encoders = trainer.denoiser, load_denoiser(model, device=device)
    lora = trainer.config.train == "lora"
    frozen = copy.copy(denoiser)
    frozen.network = denoiser.network if lora else copy.deepcopy(denoiser.network).requires_grad_(False)
    method, parametrization, schedule = trainer.method, denoiser.parametrization, trainer.batches.schedules[0]

    def step(number: int) -> None:
        rows, _ = trainer.plan.step(number)
        views = examples.view[rows].ravel()
        x_0 = encoders.encode(images[examples.image[views]].to(device))
        conditioning = encoders.encode_prompt([examples.prompts[examples.prompt[view]] for view in views])
        pairs = len(rows)
        t = schedule.sample_t(torch.rand(pairs, device=device)).repeat_interleave(2)
        eps = torch.randn(pairs, *x_0.shape[1:], device=device).repeat_interleave(2, 0)
        x_t, target = schedule.add_noise(x_0, eps, t), parametrization.target(schedule, x_0, eps, t)
        with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
            prediction = denoiser.predict(x_t, t, conditioning)
            with torch.no_grad(), without_adapter(frozen.network) if lora else nullcontext():
                answer = frozen.predict(x_t, t, conditioning)
        error, error_ref = ((p.float() - target).pow(2).mean((1, 2, 3)).view(pairs, 2) for p in (prediction, answer))
        method.loss(Measured(error, error_ref, error.new_empty(pairs, 0)))[0].mean().backward()
        torch.nn.utils.clip_grad_norm_(trainer.learner.parameters, 1.0)
        trainer.learner.part.optimizer.step()
        trainer.learner.part.optimizer.zero_grad()

    return step


def take_turns(contenders: dict[str, Callable[[int], None]], clock: Callable[[], float]) -> dict[str, list[float]]:
    """Seconds of each variant in each round; the variants alternate, so that all run under the same conditions."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(TURNS + WARM_UP):
        for name, contender in contenders.items():
            start = clock()
            contender(turn)
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            if turn >= WARM_UP:
                seconds[name].append(clock() - start)
    return seconds


def report(train: str, pairs: int, seconds: dict[str, list[float]]) -> None:
    for name, times in seconds.items():
        low, middle, high = (1e3 * each for each in statistics.quantiles(times, n=4))
        rate = 1e3 * pairs / middle
        print(f"{train:5} {name:6} {middle:8.1f} ms  ({low:.1f} - {high:.1f})  {rate:.1f} pairs/s")
    for over, under, aim in (("step", "bare", "<= 1.15"), ("plain", "step", ">= 1.6" if train == "lora" else ">= 1.4")):
        ratio = statistics.median(a / b for a, b in zip(seconds[over], seconds[under]))
        print(f"{train:5} {over} / {under}: {ratio:.3f}  (aim {aim})")


if __name__ == "__main__":
    main()
