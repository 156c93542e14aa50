"""Compares the time of a training step on images of several shapes with one on their square crops.

    python benchmarks/buckets.py [--model tiny-sd] [--batch 32] [--micro-batch 8] [--shapes 1 3 5] [--cpu-time]

Trains a LoRA by DPO on the same pairs twice in one process, alternately: `square K` crops images of K
shapes to squares (`--no-buckets`), `shapes K` trains them in their buckets. Prints the median of 15 steps, the ratio of
the two, and the ratio per pixel, as a bucket has slightly fewer pixels than the square.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from palate.align.methods.dpo import DPOConfig
from palate.align.prepare import buckets_of, grid_of
from palate.align.stage import assemble
from palate.align.trainer import Trainer
from palate.core.runs import RunFolder
from palate.models.families import sizes_of
from palate.models.source import resolve
from palate.records.checked_set import checked_set
from palate.records.columns import Rankings
from palate.records.ranked import RankedSet
from palate.training.accelerator import make_accelerator
from train_step import TURNS, WARM_UP, png, take_turns

SHAPES = ((4, 3), (3, 4), (1, 1), (3, 2), (16, 9), (2, 3), (9, 16), (5, 4))
"""Width : height of photographs, in the order in which they are taken."""


def main() -> None:
    parser = argparse.ArgumentParser(description="Times training steps on images of several shapes.")
    parser.add_argument("--model", default="tiny-sd")
    parser.add_argument("--batch", type=int, default=32, help="pairs a step")
    parser.add_argument("--micro-batch", type=int)
    parser.add_argument("--resolution", type=int)
    parser.add_argument("--shapes", type=int, nargs="+", default=[1, 3, 5])
    parser.add_argument("--device")
    parser.add_argument("--cpu-time", action="store_true", help="CPU seconds instead of wall time, for a busy machine")
    options = parser.parse_args()
    clock = time.process_time if options.cpu_time else time.perf_counter
    with tempfile.TemporaryDirectory() as folder:
        trainers = {}
        for count in options.shapes:
            for buckets in (False, True):
                name = f"shapes {count}" if buckets else f"square {count}"
                trainers[name] = prepare(options, SHAPES[:count], buckets, Path(folder) / name)
        seconds = take_turns({name: trainer.step for name, trainer in trainers.items()}, clock)
        for count in options.shapes:
            report(seconds, trainers, count)


def prepare(options: argparse.Namespace, shapes: tuple[tuple[int, int], ...], buckets: bool, folder: Path) -> Trainer:
    """The trainer of a run on pairs of noise of these shapes."""
    source = resolve(options.model)
    side = 2 * (options.resolution or sizes_of(source).native)  # so that no image is enlarged
    sets = []
    for i in range(4 * options.batch):
        width, height = (round(side * each / min(shapes[i % len(shapes)])) for each in shapes[i % len(shapes)])
        pixels = np.random.default_rng(i).integers(0, 256, (2, height, width, 3), dtype=np.uint8)
        sets.append(RankedSet(f"a picture of number {i % 97}", tuple(png(each) for each in pixels), (1, 2)))
    config = DPOConfig(
        model=options.model,
        preferences="",
        out=folder,
        cache=folder / "cache",
        batch=options.batch,
        micro_batch=options.micro_batch,
        buckets=buckets,
        resolution=options.resolution,
        device=options.device,
        draws=1,
        steps=4 * (TURNS + WARM_UP),
    )
    examples = config.method().examples(Rankings.of(map(checked_set, sets)))
    run = RunFolder.open(config.out, "align dpo", config)
    chosen = buckets_of(grid_of(config, source), examples)
    return assemble(config, config.method(), source, examples, chosen, run, make_accelerator(config.device))


def report(seconds: dict[str, list[float]], trainers: dict[str, Trainer], count: int) -> None:
    square, mixed = f"square {count}", f"shapes {count}"
    for name in (square, mixed):
        low, middle, high = (1e3 * each for each in statistics.quantiles(seconds[name], n=4))
        print(f"{name:9} {middle:8.1f} ms  ({low:.1f} - {high:.1f})  {pixels_of(trainers[name]):.0f} pixels an image")
    ratio = statistics.median(b / a for a, b in zip(seconds[square], seconds[mixed]))
    per_pixel = ratio * pixels_of(trainers[square]) / pixels_of(trainers[mixed])
    print(f"{mixed} / {square}: {ratio:.3f}, per pixel {per_pixel:.3f}")


def pixels_of(trainer: Trainer) -> float:
    """The mean number of pixels of an image."""
    buckets = trainer.batches.prepared.buckets
    return float(np.mean([buckets.sizes[number].height * buckets.sizes[number].width for number in buckets.view]))


if __name__ == "__main__":
    main()
