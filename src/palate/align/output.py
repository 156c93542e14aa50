"""Saves a run's model: a LoRA that diffusers loads, or a whole pipeline, with `palate.json`, which names its base."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from torch import nn

from palate.align.config import AlignConfig
from palate.core.files import atomic_folder
from palate.core.json_files import write_json
from palate.models.denoiser import Denoiser
from palate.models.load import load_pipeline
from palate.models.lora import save_lora
from palate.models.lora_file import CARD
from palate.models.model_name import absolute_name
from palate.models.quiet import quiet_libraries
from palate.models.source import ModelSource, builtin_models

BEST = "best"
"""The folder inside `model/` with the best model of the run's validations."""


def save_model(
    folder: Path, denoiser: Denoiser, network: nn.Module, config: AlignConfig, source: ModelSource, made: dict[str, Any]
) -> None:
    """Writes `model/` of a run completely or not at all; the best model inside it stays.

    Args:
        folder: where to write it.
        denoiser: the trained model.
        network: its network, not wrapped.
        config: the configuration of the run.
        source: the base model.
        made: how the model was made, for `palate.json`.
    """
    with atomic_folder(folder) as partial:
        if config.train == "lora":
            save_lora(denoiser, network, partial, source)
        else:
            trained: dict[str, Any] = {source.network: network}
            pipeline = load_pipeline(source, **trained)
            with quiet_libraries():
                pipeline.save_pretrained(partial)
        card = {**source.card, "base": portable_name(config.model), **made}
        write_json(partial / CARD, card)
        if (folder / BEST).is_dir():
            shutil.copytree(folder / BEST, partial / BEST)


def portable_name(model: str) -> str:
    """A model's name that is valid from any working directory."""
    return absolute_name(model, builtin_models())
