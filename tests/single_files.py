"""Single files of the twins, and the pictures that are drawn from them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import torch
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection
from twins import TWINS

from palate.models.export_config import ModelExportConfig
from palate.models.model_export import export_model


def export(model: Any, out: Path, **changes: Any) -> Path:
    """Writes a model as one file."""
    return export_model(ModelExportConfig(model=str(model), out=out, to="merged", **changes))


class SingleFiles(dict[str, Path]):
    """The twins as single files by name, each with the name of its base beside it, written when first asked for.

    Args:
        twins: folders of the twins by name.
        root: where to write.
    """

    def __init__(self, twins: Mapping[str, Path], root: Path) -> None:
        super().__init__()
        self.twins, self.root = twins, root

    def base(self, name: str) -> Path:
        """The folder of which a file is made; SDXL's text encoders have two widths, by which diffusers knows them."""
        if name != "sdxl":
            return self.twins[name]
        folder = self.root / "base" / name
        if not folder.is_dir():
            pipeline: Any = diffusers.DiffusionPipeline.from_pretrained(self.twins[name])
            torch.manual_seed(0)
            old = pipeline.text_encoder.config.to_dict()
            one, two = (CLIPTextConfig(**{**old, "hidden_size": width}) for width in (12, 20))
            pipeline.register_modules(text_encoder=CLIPTextModel(one), text_encoder_2=CLIPTextModelWithProjection(two))
            pipeline.save_pretrained(folder)
        return folder

    def __missing__(self, name: str) -> Path:
        file = export(self.base(name), self.root / f"{name}.safetensors")
        (self.root / f"{name}.palate.json").write_text(json.dumps({"base": str(self.base(name))}))
        return self.setdefault(name, file)


def copied(file: Path, out: Path, change: Any = None, base: Path | None = None) -> Path:
    """The file elsewhere, its tensors changed, with its own base or another."""
    tensors = load_file(file)
    if change is not None:
        change(tensors)
    save_file(tensors, out, {"format": "pt"})
    card = json.loads(file.with_name(f"{file.stem}.palate.json").read_text())
    out.with_name(f"{out.stem}.palate.json").write_text(json.dumps({"base": str(base)} if base else card))
    return out


def picture(pipeline: Any, name: str) -> np.ndarray:
    """What a pipeline of a twin draws from one prompt and seed, [H, W, 3] in 0 to 255."""
    height, width = TWINS[name].size
    frame = dict(TWINS[name].frame(height, width))
    pipeline.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(0)
    return np.asarray(pipeline("a star", num_inference_steps=3, generator=generator, **frame).images[0])
