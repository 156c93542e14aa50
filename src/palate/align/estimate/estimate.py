"""The memory and time of a run before it starts."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from palate.align.config import AlignConfig
from palate.align.encoders import PROMPTS_AT_ONCE
from palate.align.estimate.calibrate import Rates, byte_rates, calibrate
from palate.align.estimate.machine import available_memory, overhead, time_since_start, weight_files
from palate.align.estimate.real_steps import SMALL, real_seconds
from palate.align.estimate.stages import RunStage, Setting, encoders_at_once, trace_stages
from palate.align.examples import Examples
from palate.align.learned import learning_sets
from palate.align.methods.method import Method
from palate.align.plan import TrainingPlan
from palate.align.prepare import grid_of
from palate.align.reference_errors import REFERENCE_AT_ONCE
from palate.core.device import best_device
from palate.diffusion.draws import Draws
from palate.models.families import adapter_of, sizes_of
from palate.models.source import ModelSource, resolve
from palate.models.weightless import configuration_source
from palate.training.accelerator import compute_dtype, micro_batch


@dataclass(frozen=True)
class StageEstimate:
    """What a stage of a run needs.

    Attributes:
        name: encode, reference or train.
        device: where it runs.
        memory: the largest memory at one time, in bytes; the sum of the following five.
        weights: of it the weights.
        state: of it gradients, the optimiser's state and a moving average.
        working: of it all other tensors, such as activations.
        base: of it what a process needs without any of them.
        flops: floating-point operations of the stage.
        seconds: its time; None if it was not estimated.
    """

    name: str
    device: str
    memory: int
    weights: int
    state: int
    working: int
    base: int
    flops: float
    seconds: float | None


@dataclass(frozen=True)
class RunEstimate:
    """What a run needs.

    Attributes:
        model, method: their names.
        device: where the network is trained.
        stages: in their order.
        start: seconds until the first stage begins, and after the last one; None if it was not estimated.
        available: bytes of memory that are free on the device.
    """

    model: str
    method: str
    device: str
    stages: tuple[StageEstimate, ...]
    start: float | None
    available: int

    @property
    def memory(self) -> int:
        """The largest memory on the device at one time, in bytes."""
        return max(stage.memory for stage in self.stages if stage.device == self.device)

    @property
    def seconds(self) -> float | None:
        """The time of the run, if its cache is empty."""
        times = [self.start, *(stage.seconds for stage in self.stages)]
        return None if None in times else sum(filter(None, times))

    def mapping(self) -> dict[str, Any]:
        """The estimate in the types of JSON."""
        return {**asdict(self), "memory": self.memory, "seconds": self.seconds}


@dataclass(frozen=True)
class Counts:
    """How often the parts of a run are repeated.

    Attributes:
        images: batches of images that are encoded.
        prompts: batches of prompts that are encoded.
        reference: forward passes of the reference.
        steps: steps of the optimiser.
        shares: micro-batches of a step in one process.
    """

    images: float
    prompts: float
    reference: float
    steps: int
    shares: int

    def of(self, stage: str, at_once: int) -> dict[str, float]:
        """How often each part of a stage is done; batches of images are filled up to `at_once`."""
        if stage == "encode":
            return {"image": self.images * at_once, "prompts": self.prompts}
        if stage == "reference":
            return {"forward": self.reference}
        return {"micro-batch": self.steps * self.shares, "update": self.steps}


def estimate_run(
    config: AlignConfig,
    method: Method | None = None,
    processes: int = 1,
    clock: Callable[[], float] = time.perf_counter,
    times: bool = True,
) -> RunEstimate:
    """Estimates a run from its configuration, its feedback and the model's configuration; no weights are read.

    The code of the stages runs on tensors without memory, which gives the memory and counts every operation. Then the
    most expensive of these operations are done on the device to time them; a small model's parts are done themselves.

    Args:
        config: the configuration of the run.
        method: the method; the configuration's own when left out.
        processes: how many processes will train.
        clock: by which operations are timed, in seconds.
        times: whether to estimate the time, which takes up to half a minute.

    Raises:
        PalateError: an input of the run cannot be used.
    """
    begun = time_since_start()
    method = method or config.method()
    source = configuration_source(resolve(config.model))
    adapter_of(source)
    grid_of(config, source)
    examples, _ = learning_sets(config, method)
    device = torch.device(config.device or best_device())
    setting = setting_of(config, method, source, examples, device.type, processes)
    stages = trace_stages(config, source, setting)
    return _combined(config, method, source, examples, stages, setting, device, begun, clock if times else None)


def setting_of(
    config: AlignConfig, method: Method, source: ModelSource, examples: Examples, device: str, processes: int = 1
) -> Setting:
    """Where and on what a run works."""
    longest = sorted({examples.prompts[number] for number in np.unique(examples.prompt)}, key=len)[-PROMPTS_AT_ONCE:]
    return Setting(
        device=device,
        dtype=compute_dtype(config.precision, device),
        resolution=max(config.resolutions(sizes_of(source).native)),
        images=examples.view.shape[1],
        micro_batch=micro_batch(config.batch, config.micro_batch, processes),
        reference=method.measures_base,
        prompts=tuple(longest) or ("",),
        follows=bool(method.follows),
    )


def _combined(
    config: AlignConfig,
    method: Method,
    source: ModelSource,
    examples: Examples,
    stages: list[RunStage],
    setting: Setting,
    device: torch.device,
    begun: float,
    clock: Callable[[], float] | None,
) -> RunEstimate:
    at_once = encoders_at_once(source, setting.resolution)
    counts = _counts(config, examples, setting, at_once)
    often = {stage.name: counts.of(stage.name, at_once) for stage in stages}
    work = [(part, often[stage.name][name]) for stage in stages for name, part in stage.parts.items()]
    base, files = overhead(device), weight_files(source)  # before the calibration, which needs memory itself
    small = clock and 0 < sum(files.values()) <= SMALL
    real = real_seconds(config, source, setting, device, clock) if clock and small else None
    rates = calibrate(work, device, clock) if clock and not small else None
    digesting, loading = byte_rates(clock) if clock else (0.0, 0.0)
    found = []
    for stage in stages:
        encoding = stage.name == "encode"
        where = "cpu" if encoding and config.encode_on == "cpu" else str(device)
        flops = sum(part.flops * often[stage.name][name] for name, part in stage.parts.items())
        seconds = _time(stage, often[stage.name], rates, real)
        first = stage.name == "reference" or (stage.name == "train" and not method.measures_base)
        loaded = sum(size for name, size in files.items() if encoding != (name == source.network))
        if seconds is not None and (encoding or first):
            seconds += loaded * loading
        parts = stage.weights, stage.state, stage.working, base
        found.append(StageEstimate(stage.name, where, stage.bytes + base, *parts, flops, seconds))
    start = begun + sum(files.values()) * digesting + (real or {}).get("load", 0.0) if clock else None
    return RunEstimate(config.model, method.name, str(device), tuple(found), start, available_memory(device))


def _time(
    stage: RunStage, often: dict[str, float], rates: Rates | None, real: Mapping[str, float] | None
) -> float | None:
    if real is not None:
        return sum(real[name] * often[name] for name in stage.parts)
    return None if rates is None else sum(rates.time(part) * often[name] for name, part in stage.parts.items())


def _counts(config: AlignConfig, examples: Examples, setting: Setting, images_at_once: int) -> Counts:
    draws = Draws(examples.keys, config.seed, config.prompt_dropout)
    plan = TrainingPlan(draws, examples.key[examples.view[:, 0]], config.batch, config.draws)
    views = np.unique(examples.view[plan.visited(config.steps)])
    images, prompts = np.unique(examples.image[views]), np.union1d([0], examples.prompt[views])  # 0: no prompt
    visits = sum(len(np.unique(examples.view[visited])) for visited in plan.visits(config.steps))
    return Counts(
        images=-(-len(images) // images_at_once),
        prompts=-(-len(prompts) // PROMPTS_AT_ONCE),
        reference=visits / (REFERENCE_AT_ONCE * setting.micro_batch),
        steps=config.steps,
        shares=max(1, config.batch // setting.micro_batch),
    )
