"""`palate align`: trains a model on preferences."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from palate import __version__
from palate.align.batches import Batches
from palate.align.config import FREE, AlignConfig
from palate.align.encoders import Encoders
from palate.align.estimate.check import check_run
from palate.align.examples import Examples
from palate.align.learned import learning_sets
from palate.align.methods.method import Method
from palate.align.output import save_model
from palate.align.plan import TrainingPlan
from palate.align.prepare import Needed, Prepared, buckets_of, grid_of, prepare_cached, prepare_streamed
from palate.align.reference_errors import REFERENCE_AT_ONCE, measure_errors
from palate.align.run_report import RunReport
from palate.align.trainer import Trainer
from palate.align.validation.attach import attach_validation
from palate.align.validation.setup import ValidationInputs
from palate.core.free_memory import give_back_freed_memory
from palate.core.progress import note
from palate.core.runs import RunFolder
from palate.core.user_code import class_digest
from palate.diffusion.draws import Draws
from palate.models.attention import use_plain_attention
from palate.models.buckets import BucketGrid, ImageBuckets
from palate.models.denoiser import Denoiser
from palate.models.families import adapter_of
from palate.models.few_steps import few_steps, few_steps_notes
from palate.models.load import load_denoiser
from palate.models.lora import add_lora
from palate.models.prompt_length import cut_off, note_cut_off, text_limits
from palate.models.quantize import quantization_identity, require_quantization
from palate.models.source import ModelSource, resolve
from palate.training.accelerator import compute_dtype, explain_memory, make_accelerator, micro_batch
from palate.training.optimizer import require_optimizer
from palate.training.row_cache import default_root, digest
from palate.training.run_folder import abandoned_on_error, open_run
from palate.training.trackers import tracked

if TYPE_CHECKING:
    from accelerate import Accelerator

LATENTS_DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def align(config: AlignConfig, method: Method | None = None) -> Path:
    """Trains a model on preferences.

    Caches latents, embeddings and the base model's errors, then trains. An interrupted run continues from its last
    checkpoint and ends with the same weights.

    Args:
        config: the configuration of the run.
        method: the method; the configuration's own when left out.

    Returns:
        The run folder: `model/` has the LoRA or pipeline, `metrics.jsonl` the curves, `summary.json` the result.

    Raises:
        PalateError: an input cannot be used; raised before any expensive work.
        KeyboardInterrupt: Ctrl-C was pressed; raised after a checkpoint, and the same call continues from there.
    """
    method = method or config.method()
    source = resolve(config.model)
    adapter_of(source)
    timesteps = few_steps(source, config.timesteps)
    source.check()
    grid = grid_of(config, source)
    examples, held_out = learning_sets(config, method)
    buckets = buckets_of(grid, examples)
    accelerator = make_accelerator(config.device, config.tracker, config.out)
    _require_possible(config, method, source, accelerator)
    validation = ValidationInputs.of(config, source, held_out, accelerator)
    inputs = {"model": source.fingerprint(*source.parts()), "preferences": examples.digest(), **_own_code(method)}
    inputs |= validation.digests()
    run = open_run(accelerator, f"align {method.name}", config, FREE, inputs)
    if run.finished:
        return run.path
    cut = cut_off(examples.prompts, text_limits(source)) if accelerator.is_main_process else []
    counted = note_cut_off(cut, config.model)
    if accelerator.is_main_process:
        for line in (*few_steps_notes(source, timesteps), buckets.note()):
            note(line)
        validation.note(config, source, examples)
    made, report = _made(config, method, timesteps, grid), RunReport(run, config, method.name, validation)
    with explain_memory("a smaller --micro-batch (it changes no result), --gradient-checkpointing or --train lora"):
        with abandoned_on_error(run):
            ready = validation.prepare(config, source, run, accelerator)
            trainer = assemble(config, method, source, examples, buckets, run, accelerator)
            attach_validation(trainer, ready, source, report, made)
        with run.timer("train"), tracked(accelerator, config), report.live():
            trainer.train()
    if accelerator.is_main_process:
        save_model(run.path / "model", trainer.denoiser, trainer.network, config, source, made)
        run.finish({**_summary(config, method, examples, run), **buckets.summary(), **counted, **report.summary()})
        report.end()
    accelerator.wait_for_everyone()
    accelerator.end_training()
    return run.path


def _require_possible(config: AlignConfig, method: Method, source: ModelSource, accelerator: Accelerator) -> None:
    """Raises PalateError if the machine cannot do the run: its processes, its libraries or its memory."""
    micro_batch(config.batch, config.micro_batch, accelerator.num_processes)
    require_optimizer(config.optimizer, accelerator.device.type)
    require_quantization(config.quantize, accelerator.device.type)
    check_run(config, method, source, accelerator.device, accelerator.num_processes)


def _made(config: AlignConfig, method: Method, timesteps: tuple[int, ...], grid: BucketGrid) -> dict[str, Any]:
    """How the model of the last step is made, for its `palate.json`."""
    made = {"method": method.name, "training_steps": config.steps, "palate": __version__}
    made |= {"resolution": list(grid.resolutions), "buckets": config.buckets}
    made |= {"quantize": config.quantize} if config.quantize else {}
    return made | ({"timesteps": list(timesteps)} if timesteps else {})


def _own_code(method: Method) -> dict[str, str]:
    """A digest of a user's own method, as an input of the run; empty for the methods of Palate."""
    return {} if type(method).__module__.startswith("palate.") else {"method": class_digest(type(method))}


def assemble(
    config: AlignConfig,
    method: Method,
    source: ModelSource,
    examples: Examples,
    buckets: ImageBuckets,
    run: RunFolder,
    accelerator: Accelerator,
) -> Trainer:
    """A trainer with its caches filled: latents, embeddings and, where the method needs them, the base's errors."""
    root, dtype = (config.cache or default_root()) / "align", compute_dtype(config.precision, accelerator.device.type)
    draws = Draws(examples.keys, config.seed, config.prompt_dropout)
    plan = TrainingPlan(draws, examples.key[examples.view[:, 0]], config.batch, config.draws)
    about = {"model": config.model, "data": config.preferences, "pixels": buckets.grid.pixels}
    with run.timer("encode"):
        where = torch.device("cpu") if config.encode_on == "cpu" else accelerator.device
        encoders = Encoders(source, where, LATENTS_DTYPES[config.latents_dtype], dtype)
        prepared = _prepared(config, encoders, examples, buckets, plan, root, about, accelerator)
    del encoders  # out of memory before the network is loaded, unless `prepared` still needs them
    give_back_freed_memory()
    weights = dtype if config.train == "lora" else torch.float32  # trained weights stay in float32
    denoiser = _network(config, source, accelerator.device, weights)
    cells = max(math.prod(latents.shape[-2:]) for latents in prepared.latents.values())
    plain = use_plain_attention(denoiser.network, cells, accelerator.device.type, dtype)
    batches = Batches.of(denoiser, examples, draws, prepared, method.mask)
    reference = None
    if method.measures_base:
        identity = _identity(config, source, str(weights), plain, prepared.identity)
        at_once = REFERENCE_AT_ONCE * micro_batch(config.batch, config.micro_batch, accelerator.num_processes)
        with run.timer("reference"):
            wanted = [examples.view[visited].ravel() for visited in plan.visits(config.steps)]
            reference = measure_errors(denoiser, batches, wanted, at_once, identity, root, about, accelerator, dtype)
    make_trainable(denoiser.network, config, denoiser.lora_targets)
    return Trainer(config, method, denoiser, batches, plan, reference, run, accelerator, dtype)


def _network(config: AlignConfig, source: ModelSource, device: torch.device, weights: torch.dtype) -> Denoiser:
    """The model without its encoders, its network's weights in a dtype or, where the user asks, in few bits."""
    few, without = few_steps(source, config.timesteps), source.encoders()
    return load_denoiser(source, device=device, dtype=weights, without=without, timesteps=few, quantize=config.quantize)


def _identity(config: AlignConfig, source: ModelSource, *computed: object) -> str:
    """A digest of the base network and of how it computes, for the name of its errors in the cache."""
    network = source.fingerprint(source.network, "scheduler")
    return digest(network, *computed, *few_steps(source, config.timesteps), *quantization_identity(config.quantize))


def _prepared(
    config: AlignConfig,
    encoders: Encoders,
    examples: Examples,
    buckets: ImageBuckets,
    plan: TrainingPlan,
    root: Path,
    about: Mapping[str, object],
    accelerator: Accelerator,
) -> Prepared:
    """The latents and embeddings that the run needs: cached on disk, or computed when they are needed."""
    needed = Needed.of(examples, buckets, plan.visited(config.steps))
    if config.latents == "streamed":
        return prepare_streamed(encoders, examples, buckets, needed)
    return prepare_cached(encoders, examples, buckets, needed, root, about, accelerator)


def make_trainable(network: Any, config: AlignConfig, targets: tuple[str, ...]) -> None:
    """Adds a LoRA to the network, on the family's targets unless the user names others, or trains all its weights."""
    if config.train == "lora":
        forms = {"use_dora": config.dora, "use_rslora": config.rank_stabilized}
        add_lora(network, config.rank, config.alpha or config.rank, config.targets or targets, config.seed, **forms)
    else:
        network.requires_grad_(True)
    if config.gradient_checkpointing:
        network.enable_gradient_checkpointing()
    if config.compile:
        network.compile()


def _summary(config: AlignConfig, method: Method, examples: Examples, run: RunFolder) -> dict[str, Any]:
    """The contents of `summary.json`; metrics are means over the last tenth of the run, as single lines are noisy."""
    late = [line for line in run.metrics() if line["step"] > 0.9 * config.steps]
    columns: dict[str, list[float]] = {}
    for line in late:
        for name in line.keys() - {"step", "epoch", "lr"}:
            columns.setdefault(name, []).append(line[name])  # a line lacks a metric that none of its steps measured
    means = {name: sum(column) / len(column) for name, column in columns.items()}
    counts = {"examples": len(examples), "images": len(examples.images), "steps": config.steps}
    return {"method": method.name, "model": config.model, **counts, "seconds": run.timings, "last_tenth": means}
