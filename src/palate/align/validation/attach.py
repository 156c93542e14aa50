"""Lets a trainer validate its model while it trains."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from palate.align.batches import Batches
from palate.align.output import BEST, save_model
from palate.align.reference_errors import REFERENCE_AT_ONCE, measure_errors
from palate.align.run_report import SAMPLES, RunReport
from palate.align.trainer import Trainer
from palate.align.validation.held_out import DRAWS, HeldOut, held_out_draws
from palate.align.validation.samples import Samples
from palate.align.validation.setup import ReadyInputs, validation_size
from palate.align.validation.validator import LOG, Validator
from palate.core.cache_folder import default_root, digest
from palate.core.runs import RunFolder
from palate.generate.sampler import Sampler
from palate.models.few_steps import few_steps
from palate.models.quantize import quantization_identity
from palate.models.source import ModelSource
from palate.records.jsonlines import JsonLines

TITLE = "held-out errors of the base model"


def attach_validation(
    trainer: Trainer, ready: ReadyInputs, source: ModelSource, report: RunReport, made: Mapping[str, Any]
) -> None:
    """Gives a trainer, before its first step, a validator, which also writes the report.

    Args:
        trainer: the trainer.
        ready: what the run is validated on.
        source: the base model.
        report: the run's report.
        made: how the model is made, for the `palate.json` of the best one.
    """
    config, run, inputs = trainer.config, report.run, ready.inputs

    def save(done: int) -> None:
        network = trainer.network if config.train == "lora" else _on_cpu(trainer.network)
        card = {**made, "training_steps": done}
        save_model(run.path / "model" / BEST, trainer.denoiser, network, config, source, card)

    trainer.loop.observer = Validator(
        every=config.every,
        steps=config.steps,
        samples=_samples(trainer, ready, source, run) if inputs.prompts else None,
        held_out=_held_out(trainer, ready, source, run) if ready.prepared else None,
        criterion=inputs.criterion,
        denoiser=trainer.denoiser,
        network=trainer.network,
        average=trainer.average,
        log=JsonLines(run.path / LOG),
        save=save,
        report=report.write,
        accelerator=trainer.accelerator,
    )


def _samples(trainer: Trainer, ready: ReadyInputs, source: ModelSource, run: RunFolder) -> Samples:
    """Draws and scores the validation images with the trainer's network."""
    config, inputs, side = trainer.config, ready.inputs, validation_size(trainer.config, source)
    steps, guidance = config.validation_steps, config.validation_guidance
    sampler = Sampler.of_network(source, trainer.network, ready.encoded, (side, side), trainer.dtype, steps, guidance)
    return Samples(
        items=inputs.items,
        prompts=len(inputs.prompts),
        sampler=sampler,
        scorers=inputs.scorers,
        batch=config.validation_batch,
        accelerator=trainer.accelerator,
        folder=run.path / SAMPLES,
    )


def _held_out(trainer: Trainer, ready: ReadyInputs, source: ModelSource, run: RunFolder) -> HeldOut:
    """Measures the held-out examples; the base model's errors, which the untrained network has, are cached."""
    config, inputs, accelerator = trainer.config, ready.inputs, trainer.accelerator
    assert inputs.examples is not None and ready.prepared is not None  # the caller has asked
    denoiser = trainer.denoiser
    batches = Batches.of(
        denoiser, inputs.examples, held_out_draws(inputs.examples), ready.prepared, trainer.method.mask
    )
    wrapped, denoiser.network = denoiser.network, trainer.network
    at_once, views = REFERENCE_AT_ONCE * trainer.micro_batch, inputs.examples.view[inputs.rows].ravel()
    identity = digest(
        source.fingerprint(source.network, "scheduler"),
        str(trainer.dtype),
        config.train,
        ready.prepared.identity,
        at_once,  # rounding depends on it, and at step 0 a held-out accuracy is a half only if nothing is rounded
        *few_steps(source, config.timesteps),
        *quantization_identity(config.quantize),
    )
    root, about = (config.cache or default_root()) / "align", {"model": config.model, "data": config.held_out}
    with run.timer("reference"):
        reference = measure_errors(
            denoiser, batches, [views] * DRAWS, at_once, identity, root, about, accelerator, trainer.dtype, TITLE
        )
    denoiser.network = wrapped
    return HeldOut(trainer, batches, inputs.rows, reference, at_once)


def _on_cpu(network: Any) -> nn.Module:
    """The network itself if it is on the CPU, otherwise a copy there.

    Saving a pipeline moves its parts to the CPU, which must not happen to a network in training.
    """
    if next(network.parameters()).device.type == "cpu":
        return network
    with torch.random.fork_rng(devices=[]):
        copy = type(network).from_config(network.config)
    copy.load_state_dict({name: value.cpu() for name, value in network.state_dict().items()})
    return copy
