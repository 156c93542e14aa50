"""An aligned model in the format of other programs, and on the hub."""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from palate.core.errors import InputError, PalateError
from palate.core.files import atomic_folder
from palate.models.export_config import ModelExportConfig
from palate.models.load import load_pipeline, quiet_libraries
from palate.models.parts import lora_settings, read_json
from palate.models.peft_lora import README, peft_usage
from palate.models.source import CARD, LORA_FILE, PEFT_FILE, ModelSource, lora_files, resolve

if TYPE_CHECKING:
    from torch import Tensor

KOHYA_FILE = "kohya_lora.safetensors"


def export_model(config: ModelExportConfig) -> Path:
    """Writes an aligned model in another format, completely or not at all.

    Returns:
        The folder.

    Raises:
        InputError: there is no such model, it is not in a form that the format can have, or the folder exists.
        PalateError: the hub cannot be reached, or refuses the upload.
    """
    source = resolve(config.model)
    if config.out.exists():
        raise InputError(f"{config.out} exists; name a new folder with --out")
    if config.push and config.push.count("/") != 1:
        raise InputError(f"push takes owner/name, not {config.push!r}")
    write = {"diffusers": _write_diffusers, "kohya": _write_kohya, "merged": _write_merged}[config.to]
    with atomic_folder(config.out) as partial:
        write(source, partial, config)
        (partial / README).write_text(model_card(source, config), encoding="utf-8")
    if config.push:
        _push(config.out, config.push)
    return config.out


def _write_diffusers(source: ModelSource, folder: Path, config: ModelExportConfig) -> None:
    source.check()
    if len(source.loras) > 1:
        fix = "give --to merged, which has them all"
        raise InputError(f"{config.model} is made of {len(source.loras)} LoRAs, of which one file has the last; {fix}")
    if source.loras:
        for file in lora_files(source.loras[-1]):
            shutil.copyfile(file, folder / file.name)
    else:
        shutil.copytree(source.folder, folder, dirs_exist_ok=True)


def _write_merged(source: ModelSource, folder: Path, config: ModelExportConfig) -> None:
    import torch

    pipeline = load_pipeline(source, dtype=getattr(torch, config.dtype))
    with quiet_libraries():
        pipeline.save_pretrained(folder)


def _write_kohya(source: ModelSource, folder: Path, config: ModelExportConfig) -> None:
    from safetensors.torch import load_file, save_file

    if len(source.loras) != 1:
        raise InputError(f"{config.model} is not a single LoRA; kohya's format is for one, give --to merged")
    if source.network != "unet":
        fix = "ComfyUI reads the LoRA files of diffusers for these, give --to diffusers"
        raise InputError(f"{source.family} has a transformer, whose layers have other names in kohya's format; {fix}")
    file = source.loras[0] / LORA_FILE
    settings = lora_settings(file)
    if settings.get("unet.alpha_pattern"):
        raise InputError(f"{file} has alphas of its own for some layers; give --to merged")
    tensors = kohya_names(load_file(file), settings)
    save_file(tensors, folder / KOHYA_FILE, _kohya_metadata(tensors))


def kohya_names(tensors: Mapping[str, Tensor], settings: Mapping[str, Any]) -> dict[str, Tensor]:
    """A UNet's LoRA of diffusers with kohya's names, and an alpha for each layer.

    Kohya multiplies a layer's output by alpha / rank. A rank-stabilised LoRA is multiplied by alpha / sqrt(rank), so
    its alpha becomes alpha sqrt(rank). DoRA is refused: diffusers does not read it from such a file, so that nothing
    here could show that it is right.

    Args:
        tensors: by diffusers' names, `unet.<layer>.lora_A.weight`.
        settings: peft's, from the file's metadata.

    Raises:
        InputError: a tensor has no place in kohya's format.
    """
    import torch

    kinds = {"lora_A.weight": "lora_down.weight", "lora_B.weight": "lora_up.weight"}
    stabilized = settings.get("unet.use_rslora")
    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        kind = next((kind for kind in kinds if name.endswith(f".{kind}")), None)
        if kind is None or not name.startswith("unet."):
            raise InputError(f"kohya's format has no name for the tensor {name}; give --to diffusers or merged")
        layer = f"lora_unet_{name.removeprefix('unet.').removesuffix(f'.{kind}').replace('.', '_')}"
        found[f"{layer}.{kinds[kind]}"] = tensor.contiguous()
        if kind == "lora_A.weight":
            rank = len(tensor)
            alpha = float(settings.get("unet.lora_alpha", rank))
            found[f"{layer}.alpha"] = torch.tensor(alpha * math.sqrt(rank) if stabilized else alpha)
    return found


def _kohya_metadata(tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """The entries by which other programs list a LoRA's rank and alpha."""
    rank = next(len(value) for name, value in tensors.items() if name.endswith("lora_down.weight"))
    alpha = next(float(value) for name, value in tensors.items() if name.endswith(".alpha"))
    return {"ss_network_dim": str(rank), "ss_network_alpha": f"{alpha:g}", "ss_network_module": "networks.lora"}


def model_card(source: ModelSource, config: ModelExportConfig) -> str:
    """The README of an exported model, with the hub's metadata."""
    made = read_json(source.loras[-1] / CARD) if source.loras else source.card
    base, lora = made.get("base", source.base), bool(source.loras) and config.to != "merged"
    tags = ["text-to-image", "preference-alignment", "palate", *(["lora"] if lora else [])]
    header = ["---", f"base_model: {base}", "library_name: diffusers", "pipeline_tag: text-to-image", "tags:"]
    lines = [
        *header,
        *(f"- {tag}" for tag in tags),
        "---",
        "",
        f"# {base}, aligned with Palate",
        "",
        f"Method: {made.get('method', 'unknown')}, {made.get('training_steps', 'unknown')} steps, "
        f"Palate {made.get('palate', 'unknown')}.",
        "",
        *_usage(base, config, source, lora),
    ]
    return "\n".join(lines) + "\n"


def _usage(base: str, config: ModelExportConfig, source: ModelSource, lora: bool) -> list[str]:
    if config.to == "kohya":
        return [f"`{KOHYA_FILE}` goes into the folder of LoRAs of ComfyUI, AUTOMATIC1111 or a similar program."]
    if lora and lora_files(source.loras[-1])[0].name == PEFT_FILE:
        return ["```python", *peft_usage(source.network, base), "```"]
    load = [f'pipe = DiffusionPipeline.from_pretrained("{base}")', 'pipe.load_lora_weights(".")']
    whole = ['pipe = DiffusionPipeline.from_pretrained(".")']
    return ["```python", "from diffusers import DiffusionPipeline", "", *(load if lora else whole), "```"]


def _push(folder: Path, name: str) -> None:
    from huggingface_hub import HfApi

    try:
        HfApi().create_repo(name, exist_ok=True)
        HfApi().upload_folder(repo_id=name, folder_path=str(folder))
    except (OSError, ValueError) as error:
        fix = "check the network and `hf auth login`"
        raise PalateError(f"the hub did not take {name} ({error}); {fix}. The files are in {folder}") from error
