"""The README of an exported model."""

from __future__ import annotations

from palate.models.export_config import ModelExportConfig
from palate.models.lora_file import Lora
from palate.models.parts import read_card
from palate.models.peft_lora import load_code, peft_usage
from palate.models.source import ModelSource

KOHYA_FILE = "kohya_lora.safetensors"


def model_card(source: ModelSource, config: ModelExportConfig) -> str:
    """The README of an exported model, with the hub's metadata."""
    made = read_card(source.loras[-1].path) if source.loras else source.card
    base, lora = made.get("base", source.base), bool(source.loras) and config.to != "merged"
    tags = ["text-to-image", "preference-alignment", "palate", *(["lora"] if lora else [])]
    root = source.base if source.loras else base  # a name with LoRAs is none that the hub knows
    header = ["---", f"base_model: {root}", "library_name: diffusers", "pipeline_tag: text-to-image", "tags:"]
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
        *_below(source, lora),
        *_usage(config, source, lora),
    ]
    return "\n".join(lines) + "\n"


def _below(source: ModelSource, lora: bool) -> list[str]:
    """What the LoRA was trained on top of, and its own weight."""
    if not lora:
        return []
    own, below = source.loras[-1], source.loras[:-1]
    lines = []
    if below:
        shown = ", ".join(f"`{each.path}` at the weight {each.weight:g}" for each in below)
        lines = [f"It was trained on top of {source.base} with other LoRAs, which it needs too: {shown}.", ""]
    return lines + ([f"Use it at the weight {own.weight:g}.", ""] if own.weight != 1 else [])


def _usage(config: ModelExportConfig, source: ModelSource, lora: bool) -> list[str]:
    if config.to == "kohya":
        return [f"`{KOHYA_FILE}` goes into the folder of LoRAs of ComfyUI, AUTOMATIC1111 or a similar program."]
    load = load_code(source.base, source.family)
    if lora and source.loras[-1].is_peft:
        return ["```python", *peft_usage(source.network, load, source.loras[:-1]), "```"]
    single = "from_single_file" in load
    if not lora:
        single, load = False, 'DiffusionPipeline.from_pretrained(".")'
    imports = f"from diffusers import {source.family if single else 'DiffusionPipeline'}"
    below = [line for each in source.loras[:-1] for line in _fused(each)] if lora else []
    return ["```python", imports, "", f"pipe = {load}", *below, *(_on_top(source.loras[-1]) if lora else []), "```"]


def _fused(lora: Lora) -> list[str]:
    scale = "" if lora.weight == 1 else f"lora_scale={lora.weight:g}"
    return [
        f'pipe.load_lora_weights("{lora.folder}", weight_name="{lora.file.name}")',
        f"pipe.fuse_lora({scale})",
        "pipe.unload_lora_weights()",
    ]


def _on_top(lora: Lora) -> list[str]:
    load = 'pipe.load_lora_weights(".")'
    return [load] if lora.weight == 1 else [load, f"pipe.fuse_lora(lora_scale={lora.weight:g})"]
