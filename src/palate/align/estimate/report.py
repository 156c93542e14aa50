"""An estimate as text, and the refusal of a run that does not fit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from palate.align.config import AlignConfig
from palate.align.estimate.estimate import RunEstimate, StageEstimate
from palate.core.errors import InputError
from palate.core.progress import duration, note

GIB = 2**30
CLEARLY = 1.25
"""A run is refused above this share of the free memory: estimates are within 20% (docs/align.md)."""
NEARLY = 0.9
"""Above this share of the free memory a note says that it may not fit."""


def estimate_table(estimate: RunEstimate, config: AlignConfig) -> str:
    """The estimate as lines of text: a table of the stages, the total, and what would make it smaller."""
    head = ("stage", "device", "memory", "weights", "state", "working", "operations", "time")
    rows = [head, *map(_row, estimate.stages)]
    widths = [max(map(len, column)) for column in zip(*rows)]
    table = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]
    seconds = "" if estimate.seconds is None else f", {duration(estimate.seconds)}"
    free = f"{_gib(estimate.available)} are free on {estimate.device}"
    total = f"{estimate.method} of {estimate.model}: {_gib(estimate.memory)}{seconds}; {free}"
    return "\n".join([*table, "", total, *_notes(estimate, config)])


def require_memory(estimate: RunEstimate, config: AlignConfig) -> None:
    """Checks that a run fits into the free memory, before expensive work.

    Raises:
        InputError: it needs clearly more; the message says what would make it smaller.
    """
    share = estimate.memory / max(estimate.available, 1)
    needs = f"needs about {_gib(estimate.memory)}, and {_gib(estimate.available)} are free on {estimate.device}"
    smaller = "; ".join(smaller_settings(estimate, config)) or "give a smaller model or --resolution"
    if share > CLEARLY:
        raise InputError(f"this run {needs}: {smaller}; or --no-check-memory to try it nevertheless")
    if share > NEARLY:
        note(f"this run {needs}, so it may run out of memory: {smaller}")


def smaller_settings(estimate: RunEstimate, config: AlignConfig) -> list[str]:
    """The settings that would lower the largest memory, by the stage that has it."""
    stages = [stage for stage in estimate.stages if stage.device == estimate.device]
    largest = max(stages, key=lambda stage: stage.memory)
    if largest.name == "encode":
        return [] if config.encode_on == "cpu" or estimate.device == "cpu" else ["give --encode-on cpu"]
    found = []
    if (config.micro_batch or config.batch) > 1:
        found.append("--micro-batch 1")
    if not config.gradient_checkpointing and largest.name == "train":
        found.append("--gradient-checkpointing")
    if config.train == "full":
        found += ["--optimizer adafactor"] * (config.optimizer != "adafactor") + ["--train lora"]
    elif config.quantize != "4bit":
        found.append("--quantize 4bit")
    if config.latents == "streamed":
        found.append("--latents cached")
    return [f"give {' or '.join(found)}"] if found else []


def _row(stage: StageEstimate) -> Sequence[str]:
    sizes = (_gib(each) for each in (stage.memory, stage.weights, stage.state, stage.working))
    seconds = "-" if stage.seconds is None else duration(stage.seconds)
    return stage.name, stage.device, *sizes, f"{stage.flops / 1e12:.3g} TFLOP", seconds


def _notes(estimate: RunEstimate, config: AlignConfig) -> Iterator[str]:
    if smaller := smaller_settings(estimate, config):
        yield f"less memory: {smaller[0]}"
    left_out = []
    if config.validated:
        left_out.append("validation")
    if config.adversarial:
        left_out.append("the adversarial term")
    if config.compile:
        left_out.append("compilation")
    if left_out:
        yield f"not counted: {', '.join(left_out)}"
    if estimate.seconds is not None:
        yield "what is in the cache already is not computed again, and takes no time"


def _gib(size: int) -> str:
    return f"{size / GIB:.3g} GiB" if size >= GIB / 10 else f"{size / 2**20:.3g} MiB"
