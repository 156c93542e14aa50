"""The single files in which models are passed on, recognised by the names of their tensors alone."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from palate.core.errors import InputError
from palate.models.original_names import (
    Names,
    clip_names,
    flux_names,
    open_clip_names,
    t5_names,
    unet_names,
    vae_names,
)
from palate.models.single_file_network import release_of
from palate.models.tensor_files import StoredTensor

UNET = "model.diffusion_model."
V_PREDICTION, ZERO_SNR = "v_pred", "ztsnr"
"""Empty tensors by which files say that the network predicts v, and that its last timestep is pure noise."""


@dataclass(frozen=True)
class PartLayout:
    """How one part is stored.

    Attributes:
        prefix: the beginning of its tensors' names.
        names: its tensors' names after that.
    """

    prefix: str
    names: Names


@dataclass(frozen=True)
class Layout:
    """How the files of a family are stored.

    Attributes:
        title: the models, in plain words.
        pipeline: the class of their diffusers pipeline; None if the base decides.
        base: the hub id of the release whose configuration, tokenizers and absent parts a file takes by default.
        parts: by their names in diffusers, the network first; none if the file is a network that diffusers' own loader
            reads.
    """

    title: str
    pipeline: str | None
    base: str
    parts: Mapping[str, PartLayout]


_UNET, _VAE = PartLayout(UNET, unet_names), PartLayout("first_stage_model.", vae_names)
_CLIP, _OPEN_CLIP = (("cond_stage_model.transformer.", clip_names), ("cond_stage_model.model.", open_clip_names))
SD1 = Layout(
    "Stable Diffusion 1",
    "StableDiffusionPipeline",
    "stable-diffusion-v1-5/stable-diffusion-v1-5",
    {"unet": _UNET, "vae": _VAE, "text_encoder": PartLayout(*_CLIP)},
)
SD2 = replace(
    SD1,
    title="Stable Diffusion 2",
    base="stabilityai/stable-diffusion-2-1",
    parts={**SD1.parts, "text_encoder": PartLayout(*_OPEN_CLIP)},
)
SDXL = Layout(
    "Stable Diffusion XL",
    "StableDiffusionXLPipeline",
    "stabilityai/stable-diffusion-xl-base-1.0",
    {
        "unet": _UNET,
        "vae": _VAE,
        "text_encoder": PartLayout("conditioner.embedders.0.transformer.", clip_names),
        "text_encoder_2": PartLayout("conditioner.embedders.1.model.", open_clip_names),
    },
)
REFINER = Layout(
    "Stable Diffusion XL's refiner",
    "StableDiffusionXLImg2ImgPipeline",
    "stabilityai/stable-diffusion-xl-refiner-1.0",
    {
        "unet": _UNET,
        "vae": _VAE,
        "text_encoder_2": PartLayout("conditioner.embedders.0.model.", open_clip_names),
    },
)
FLUX = Layout(
    "FLUX.1",
    "FluxPipeline",
    "black-forest-labs/FLUX.1-dev",
    {
        "transformer": PartLayout(UNET, flux_names),
        "vae": PartLayout("vae.", vae_names),
        "text_encoder": PartLayout("text_encoders.clip_l.transformer.", clip_names),
        "text_encoder_2": PartLayout("text_encoders.t5xxl.transformer.", t5_names),
    },
)
LAYOUTS = (SD1, SD2, SDXL, REFINER, FLUX)
READ_AND_WRITTEN = frozenset(str(layout.pipeline) for layout in LAYOUTS)
"""The pipelines whose single files are read and written."""

LORA = re.compile(r"lora_(?:up|down|A|B|te\d?_|unet_)|\.(?:lokr|hada)_w|\.oft_|lora\.(?:up|down)\.")
QUANTISED = re.compile(r"scaled_fp8$|(?:scale_weight|weight_scale|scale_input|comfy_quant|absmax|quant_map)$")
"""Names of the scales beside weights that are stored as small integers or 8-bit numbers."""
_NETWORK = r"(?:model\.diffusion_model\.)?"
OTHER_FAMILIES = (
    (_NETWORK + r"joint_blocks\.0\.", "Stable Diffusion 3"),
    (_NETWORK + r"distilled_guidance_layer\.", "Chroma"),
    (_NETWORK + r"single_stream_modulation\.", "FLUX.2"),
    (_NETWORK + r"double_layers\.0\.", "AuraFlow"),
    (_NETWORK + r"double_stream_blocks\.0\.", "HiDream"),
    (_NETWORK + r"(?:cap_embedder|noise_refiner)\.", "Lumina 2 or Z-Image"),
    (r"txt_norm\.", "Qwen-Image"),
)
"""Families whose networks diffusers' own loader reads from one file, by a tensor of each."""
OTHER_KINDS = (
    (_NETWORK + r"head\.modulation", "a video model"),
    (r"control_model\.|controlnet_|input_hint_block", "a ControlNet"),
)
NOT_MODELS = (
    (r"emb_params$|string_to_param|^clip_[lg]$", "an embedding of a new word"),
    (r"(?:encoder|decoder)\.(?:conv_in|mid|down|up)", "an autoencoder (VAE) alone"),
    (r"first_stage_model\.|vae\.", "an autoencoder (VAE) alone"),
    (r"(?:text_encoders?\.|cond_stage_model\.|conditioner\.|text_model\.|shared\.)", "a text encoder alone"),
    (r"(?:down_blocks|transformer_blocks|single_transformer_blocks)\.\d", "one part of a diffusers folder"),
)


def find_layout(file: Path, tensors: Mapping[str, StoredTensor]) -> Layout:
    """The layout of a model's single file.

    Raises:
        InputError: it is a LoRA, a VAE or another part alone, or a model of another family; the message says which.
    """
    if any(LORA.search(name) for name in tensors):
        raise InputError(f"{file} is a LoRA, not a model; add it to its base: --model BASE+{file.name}")
    if (scale := next((name for name in tensors if QUANTISED.search(name)), None)) is not None:
        fix = "give the file in float16, bfloat16, float32 or plain float8"
        raise InputError(f"{file} is quantised (it has {scale!r}), and its weights are not read; {fix}")
    other = next((family for names, family in OTHER_FAMILIES if _begins(names, tensors)), None)
    if other is not None:
        return Layout(other, None, release_of(file, tensors), {})
    if any(name.endswith("double_blocks.0.img_attn.qkv.weight") for name in tensors):
        return _flux(tensors)
    if f"{UNET}input_blocks.0.0.weight" in tensors and not any(name.startswith("control_model.") for name in tensors):
        return _stable_diffusion(file, tensors)
    kind = next((kind for names, kind in (*OTHER_KINDS, *NOT_MODELS) if _begins(names, tensors)), None)
    what = f"is {kind}, not a model" if kind else f"is no model of a known layout: it has {_shown(tensors)}"
    raise InputError(f"{file} {what}; give a checkpoint with its network, or a folder that diffusers wrote")


def _stable_diffusion(file: Path, tensors: Mapping[str, StoredTensor]) -> Layout:
    read = tensors[f"{UNET}input_blocks.0.0.weight"].shape[1:2]
    drawn = tensors[f"{UNET}out.2.weight"].shape[:1] if f"{UNET}out.2.weight" in tensors else read
    if read > drawn:
        known = {2 * drawn[0]: "an InstructPix2Pix model", 2 * drawn[0] + 1: "an inpainting model"} if drawn else {}
        what = known.get(read[0], f"a model that reads {read[0]} channels and predicts {drawn}")
        raise InputError(f"{file} is {what}: its network takes an image beside the prompt; give a text-to-image model")
    for layout in (REFINER, SDXL, SD2, SD1):
        reader = list(layout.parts.values())[-1]
        if _begins(re.escape(reader.prefix), tensors):
            return layout
    width = next((each.shape[1:2] for name, each in tensors.items() if name.endswith("attn2.to_k.weight")), ())
    by_width: dict[tuple[int, ...], Layout] = {(2048,): SDXL, (1280,): REFINER, (1024,): SD2}
    return by_width.get(width, SD1)  # a network without text encoders


def _flux(tensors: Mapping[str, StoredTensor]) -> Layout:
    """With the prefix of the network that is there, and the release with or without guidance as an input."""
    prefix = UNET if _begins(re.escape(UNET), tensors) else ""
    guided = f"{prefix}guidance_in.in_layer.weight" in tensors
    base = FLUX.base if guided else "black-forest-labs/FLUX.1-schnell"
    return replace(FLUX, base=base, parts={**FLUX.parts, "transformer": PartLayout(prefix, flux_names)})


def _begins(names: str, tensors: Collection[str]) -> bool:
    pattern = re.compile(names)
    return any(pattern.match(name) for name in tensors)


def _shown(tensors: Collection[str]) -> str:
    first = next(iter(tensors), None)
    return f"{len(tensors)} tensors such as {first!r}" if first else "no tensors"
