"""Whether a LoRA was made for a model, from the headers of both files: the network must have its layers, as wide."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from palate.core.errors import InputError
from palate.models.complete import some
from palate.models.layouts import LAYOUTS, LORA
from palate.models.lora_file import PEFT_CONFIG, PEFT_FILE, Lora
from palate.models.parts import check_weights, variants
from palate.models.tensor_files import file_metadata

if TYPE_CHECKING:
    from palate.models.source import ModelSource

NETWORK = re.compile(
    r"(?P<start>unet\.|transformer\.|diffusion_model\.|base_model\.model\.|lora_unet_|lora_transformer_)"
    r"(?P<layer>.+?)[._]lora(?:\.|_)(?P<kind>down|up|A|B)\.(?:default\.)?weight"
)
"""Names of the matrices of a network's LoRA: of diffusers, ComfyUI, peft and kohya."""
PEFT_NAMES = "base_model.model."
BY_METADATA = (
    (r"stable-diffusion-xl|sdxl", "Stable Diffusion XL"),
    (r"stable-diffusion-v1|sd_v1", "Stable Diffusion 1"),
    (r"stable-diffusion-v2|sd_v2", "Stable Diffusion 2"),
    (r"stable-diffusion-v?3|sd3", "Stable Diffusion 3"),
    (r"flux-?2", "FLUX.2"),
    (r"flux", "FLUX.1"),
)
BY_NAME = (
    (r"single_transformer_blocks\.\d+\.attn\.to_qkv_mlp|single_stream_modulation", "FLUX.2"),
    (r"double_blocks|single_blocks|single_transformer_blocks", "FLUX.1"),
    (r"joint_blocks", "Stable Diffusion 3"),
    (r"transformer_blocks[._]\d+[._](?:img_mlp|img_mod|txt_mlp)", "Qwen-Image"),
    (r"transformer_blocks[._]\d+[._]attn[._]add_[qkv]_proj", "Stable Diffusion 3"),
    (r"lora_te2_|text_encoder_2\.|lora_unet_(?:input|output|middle)_block", "Stable Diffusion XL"),
)
BY_WIDTH = {768: "Stable Diffusion 1", 1024: "Stable Diffusion 2", 2048: "Stable Diffusion XL"}
"""Of the prompt's embeddings, which `attn2.to_k` reads."""

Widths = dict[str, tuple[int, int]]
"""The number of inputs and of outputs of each layer, by its name without dots."""


def check_fits(lora: Lora, source: ModelSource) -> None:
    """Checks that a file is a LoRA, and that every layer of a network's LoRA is in the network of a model.

    A LoRA whose names are in no known format passes, and is checked when it is loaded.

    Raises:
        InputError: it is not a LoRA; or layers are absent, or have other widths, or one matrix alone. The message says
            for what the LoRA seems to be made.
    """
    header = check_weights(lora.file)
    if not any(LORA.search(name) for name in header):
        fix = "a model is given as the base, before the first +" if header else "fetch it again"
        raise InputError(f"{lora.file} is not a LoRA: none of its {len(header)} tensors has the name of one; {fix}")
    unread = source.network == "unet" and not lora.is_peft  # diffusers reads these names for some transformers
    if unread and any(name.startswith(PEFT_NAMES) for name in header):
        fix = f"name it {PEFT_FILE} and put peft's {PEFT_CONFIG}, which has its alpha, beside it"
        raise InputError(f"{lora.file} is a LoRA in peft's names; {fix}")
    network, family = source.network, source.family
    found = next(iter(variants(source.folder / network).values()), [])
    shapes = {name: tuple(entry["shape"]) for file in found for name, entry in check_weights(file).items()}
    wanted = lora_widths(header)
    known = layer_widths(shapes, network, family, source.config(network)) if shapes and wanted else {}
    absent = {layer for layer in wanted if known and layer not in known}
    if half := {layer for layer, widths in wanted.items() if None in widths and not absent}:
        what = f"{len(half)} of the {len(wanted)} layers have one of their two matrices alone: {some(half)}"
        raise InputError(f"{lora.file} cannot be used whole: {what}; fetch it again")
    if wrong := absent or {layer for layer, widths in wanted.items() if known and widths != known[layer]}:
        kind = "not in its network" if absent else "of other sizes there"
        what = f"{len(wrong)} of the {len(wanted)} layers are {kind}: {some(wrong)}"
        raise InputError(f"{lora.file} is not a LoRA for {source.base}, a {family}: {what}; {made_for(lora.file)}")


def lora_widths(header: Mapping[str, Any]) -> dict[str, tuple[int | None, int | None]]:
    """The inputs and outputs of each layer of a network that a LoRA's file changes, None where one matrix is absent."""
    found: dict[str, tuple[int | None, int | None]] = {}
    for name, entry in header.items():
        if (match := NETWORK.fullmatch(name.replace(".processor.", "."))) is None or len(entry["shape"]) < 2:
            continue
        layer = match["layer"].replace(".", "_")
        ins, outs = found.get(layer, (None, None))
        down = match["kind"] in ("down", "A")
        found[layer] = (entry["shape"][1], outs) if down else (ins, entry["shape"][0])
    return found


def layer_widths(shapes: Mapping[str, tuple[int, ...]], network: str, family: str, config: Mapping[str, Any]) -> Widths:
    """The layers of a network by their names in diffusers and, where the family has such, in its original layout."""
    widths = {
        name.removesuffix(".weight").replace(".", "_"): (shape[1], shape[0])
        for name, shape in shapes.items()
        if name.endswith(".weight") and len(shape) >= 2
    }
    layout = next((layout for layout in LAYOUTS if layout.pipeline == family and network in layout.parts), None)
    if layout is None:
        return widths
    for name, original in layout.parts[network].names(shapes, config).items():
        parts = [shapes[part] for part in original.parts]
        if name.endswith(".weight") and len(parts[0]) >= 2:
            widths[name.removesuffix(".weight").replace(".", "_")] = (parts[0][1], sum(shape[0] for shape in parts))
    return widths


def made_for(file: Path) -> str:
    """A guess of a LoRA's model, from its file's own description, then its layers' names and widths."""
    about = file_metadata(file)
    said = " ".join(about.get(key, "") for key in ("modelspec.architecture", "ss_base_model_version")).lower()
    header = check_weights(file)
    family = _first(BY_METADATA, [said]) or _first(BY_NAME, header)
    width = next((ins for layer, (ins, _) in lora_widths(header).items() if layer.endswith("attn2_to_k")), None)
    family = family or BY_WIDTH.get(width or 0)
    return f"it seems to be made for {family}" if family else "it was made for another model"


def _first(table: Iterable[tuple[str, str]], texts: Collection[str]) -> str | None:
    return next((name for pattern, name in table if any(re.search(pattern, text) for text in texts)), None)
