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
from palate.models.load import load_pipeline
from palate.models.lora_file import LORA_FILE
from palate.models.model_card import KOHYA_FILE, model_card
from palate.models.parts import lora_settings
from palate.models.peft_lora import README
from palate.models.quiet import quiet_libraries
from palate.models.single_file_export import layout_of, write_single_file
from palate.models.source import ModelSource, resolve

if TYPE_CHECKING:
    from torch import Tensor


def export_model(config: ModelExportConfig) -> Path:
    """Writes an aligned model in another format, completely or not at all.

    Returns:
        The folder, or the file if `out` ends in `.safetensors`.

    Raises:
        InputError: there is no such model, it is not in a form that the format can have, or the folder exists.
        PalateError: the hub cannot be reached, or refuses the upload.
    """
    source = resolve(config.model)
    if config.out.exists():
        raise InputError(f"{config.out} exists; name a new folder or file with --out")
    if config.push and config.push.count("/") != 1:
        raise InputError(f"push takes owner/name, not {config.push!r}")
    if config.out.suffix == ".safetensors":
        return _write_single_file(source, config)
    write = {"diffusers": _write_diffusers, "kohya": _write_kohya, "merged": _write_merged}[config.to]
    with atomic_folder(config.out) as partial:
        write(source, partial, config)
        (partial / README).write_text(model_card(source, config), encoding="utf-8")
    if config.push:
        _push(config.out, config.push)
    return config.out


def _write_single_file(source: ModelSource, config: ModelExportConfig) -> Path:
    if config.to != "merged":
        raise InputError(f"{config.out} is one file, which --to merged writes; name a folder for --to {config.to}")
    if config.push:
        raise InputError("push uploads a folder; name a folder with --out, or upload the file with `hf upload`")
    layout = layout_of(source)
    write_single_file(_merged(source, config), layout, config.out, f"{source.base}, aligned with Palate")
    return config.out


def _write_diffusers(source: ModelSource, folder: Path, config: ModelExportConfig) -> None:
    source.check()
    if source.loras:
        own = source.loras[-1]
        for file in own.files:
            shutil.copyfile(file, folder / (file.name if own.is_peft else LORA_FILE))
    else:
        inside = shutil.ignore_patterns("best")  # of a run, another model
        shutil.copytree(source.folder, folder, dirs_exist_ok=True, ignore=inside)


def _write_merged(source: ModelSource, folder: Path, config: ModelExportConfig) -> None:
    pipeline = _merged(source, config)
    with quiet_libraries():
        pipeline.save_pretrained(folder)


def _merged(source: ModelSource, config: ModelExportConfig) -> Any:
    import torch

    return load_pipeline(source, dtype=getattr(torch, config.dtype))


def _write_kohya(source: ModelSource, folder: Path, config: ModelExportConfig) -> None:
    from safetensors.torch import load_file, save_file

    if not source.loras:
        raise InputError(f"{config.model} is not a LoRA; kohya's format is for one, give --to merged")
    if source.network != "unet":
        fix = "ComfyUI reads the LoRA files of diffusers for these, give --to diffusers"
        raise InputError(f"{source.family} has a transformer, whose layers have other names in kohya's format; {fix}")
    file = source.loras[-1].file
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


def _push(folder: Path, name: str) -> None:
    from huggingface_hub import HfApi

    try:
        HfApi().create_repo(name, exist_ok=True)
        HfApi().upload_folder(repo_id=name, folder_path=str(folder))
    except (OSError, ValueError) as error:
        fix = "check the network and `hf auth login`"
        raise PalateError(f"the hub did not take {name} ({error}); {fix}. The files are in {folder}") from error
