"""What an export of an aligned model is made of. Imports nothing heavy, so that `--help` answers at once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class ModelExportConfig:
    """What to export, and in which format."""

    model: str
    """An aligned model: a run of `palate align`, or its `model/`."""
    out: Path
    """New folder for the result; with --to merged also one new file, NAME.safetensors, as ComfyUI and AUTOMATIC1111
    read (Stable Diffusion 1, 2 and XL, FLUX.1)."""
    to: Literal["diffusers", "kohya", "merged"] = "diffusers"
    """diffusers: the LoRA file that `load_lora_weights` reads (peft's, if the pipeline has no such method), or the
    pipeline; kohya: a LoRA of a UNet with kohya's names, for ComfyUI, AUTOMATIC1111 and similar programs; merged: the
    base model with all its LoRAs, as a pipeline or one file. The first two give the run's own LoRA alone; their README
    names those beneath."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Precision of the weights of a merged model."""
    push: str | None = None
    """Also upload the folder to the hub as this repository, owner/name; needs `hf auth login`."""
