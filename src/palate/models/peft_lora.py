"""A LoRA in peft's own format, `adapter_model.safetensors`, for pipelines of diffusers that do not load LoRAs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn

from palate.core.errors import InputError
from palate.core.finite import require_finite
from palate.models.lora_file import PEFT_CONFIG, PEFT_FILE, Lora
from palate.models.parts import check_lora, read_json
from palate.models.source import ModelSource

README = "README.md"
PREFIX = "base_model.model."
"""The beginning of every tensor's name in peft's files."""


def load_code(base: Path | str, pipeline: str = "DiffusionPipeline") -> str:
    """The expression that loads a base with plain diffusers: a folder, a hub id, or a single file of a pipeline."""
    single = Path(base).suffix == ".safetensors"
    return f'{pipeline}.from_single_file("{base}")' if single else f'DiffusionPipeline.from_pretrained("{base}")'


def save_peft(network: nn.Module, folder: Path, family: str, part: str, source: ModelSource) -> None:
    """Writes the adapter of a network, its settings, and a README with the code that loads both.

    Args:
        network: a diffusers model with an adapter of peft's.
        folder: where to write; made when it is absent.
        family: the class of the network's pipeline.
        part: the network's name in it.
        source: the model that was trained.
    """
    from peft import get_peft_model_state_dict
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    tensors = {f"{PREFIX}{name}": value.contiguous() for name, value in get_peft_model_state_dict(network).items()}
    save_file(tensors, folder / PEFT_FILE, {"format": "pt"})
    settings: Any = network.peft_config
    settings["default"].save_pretrained(folder)
    what = f"Diffusers' {family} does not load LoRAs, so this one is in peft's own format. In this folder:"
    code = peft_usage(part, load_code(source.base), source.loras)
    lines = [f"# A LoRA for {source.base}", "", what, "", "```python", *code, "```"]
    (folder / README).write_text("\n".join(lines) + "\n", encoding="utf-8")


def peft_usage(part: str, load: str, below: Sequence[Lora] = ()) -> list[str]:
    """The lines of code that load a pipeline with some LoRAs, and then the one in the present folder.

    Args:
        part: the network's name in the pipeline.
        load: the expression that loads the base.
        below: the LoRAs beneath.
    """
    lines = ["from diffusers import DiffusionPipeline", "from peft import PeftModel", "", f"pipe = {load}"]
    for lora in (*below, Lora(Path())):
        where = lora.path if lora.path.is_dir() else lora.path.parent
        if lora.weight == 1:
            lines.append(f'pipe.{part} = PeftModel.from_pretrained(pipe.{part}, "{where}").merge_and_unload()')
            continue
        lines += [
            f'adapted = PeftModel.from_pretrained(pipe.{part}, "{where}")',
            f"[layer.scale_layer({lora.weight:g}) for layer in adapted.modules() if hasattr(layer, 'scale_layer')]",
            f"pipe.{part} = adapted.merge_and_unload()",
        ]
    return lines


def fuse_peft(network: Any, file: Path, weight: float = 1.0) -> None:
    """Adds a LoRA in peft's format to the weights of a network: all of it, or it is refused.

    Args:
        network: a diffusers model.
        file: `adapter_model.safetensors`, beside its `adapter_config.json`.
        weight: the factor of what is added.

    Raises:
        InputError: the files are not those of a LoRA, or it belongs to another model, or contains tensors that would
            not be used, or a number that is not finite.
    """
    from diffusers.utils.peft_utils import recurse_remove_peft_layers
    from peft import LoraConfig, inject_adapter_in_model, set_peft_model_state_dict
    from peft.tuners.tuners_utils import BaseTunerLayer
    from safetensors.torch import load_file

    check_lora(file)
    if (kind := read_json(file.parent / PEFT_CONFIG).get("peft_type")) != "LORA":
        raise InputError(f"{file} is not a LoRA but an adapter of the type {kind!r}, which is not supported")
    tensors = load_file(file)
    require_finite(f"the weights in {file}", tensors, fix="the run that made it diverged", error=InputError)
    before = set(network.state_dict())
    try:
        inject_adapter_in_model(LoraConfig.from_pretrained(str(file.parent)), network)
        unused = set_peft_model_state_dict(network, tensors).unexpected_keys
    except (ValueError, RuntimeError, KeyError, TypeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"{file} is not a LoRA for this {type(network).__name__}: {reason}") from error
    added = sum("lora_" in name for name in set(network.state_dict()) - before)
    if unused or len(tensors) != added:
        what = f"it has {len(tensors)} tensors, of which the model takes {added - len(unused)}"
        raise InputError(f"{file} cannot be used whole: {what}; it was made for another model")
    for layer in network.modules():
        if isinstance(layer, BaseTunerLayer):
            if weight != 1:
                layer.scale_layer(weight)  # type: ignore[attr-defined]  # of its LoRA layers
            layer.merge()
    recurse_remove_peft_layers(network)
    del network.peft_config
