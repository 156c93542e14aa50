"""The names and forms of tensors in the files of the models' authors, from those of diffusers.

Each function gives, for the tensors of one part of a pipeline, what the original layout stores: CompVis's latent
diffusion for Stable Diffusion 1 and 2, Stability's generative models for XL, OpenCLIP for their larger text encoders,
and Black Forest Labs' for FLUX.1. One table serves both directions: a file is read by what it must contain.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

SAME, TRANSPOSED, SWAPPED, CONVOLUTION = "same", "transposed", "swapped", "convolution"


@dataclass(frozen=True)
class OriginalTensor:
    """One tensor of an original layout.

    Attributes:
        parts: the tensors of diffusers, which are joined along their first axis.
        form: `SAME`; `TRANSPOSED`, a matrix; `SWAPPED`, the halves of the first axis in the other order; or
            `CONVOLUTION`, a matrix [n, m] as the kernel [n, m, 1, 1].
        again: whether the same numbers are stored under another name too, so that a file may lack this one.
    """

    parts: tuple[str, ...]
    form: str = SAME
    again: bool = False


Names = Callable[[Iterable[str], Mapping[str, Any]], dict[str, OriginalTensor]]
"""From the names of a part's tensors in diffusers and the part's configuration, the original tensors by name."""

RESNET = (
    ("norm1", "in_layers.0"),
    ("conv1", "in_layers.2"),
    ("norm2", "out_layers.0"),
    ("conv2", "out_layers.3"),
    ("time_emb_proj", "emb_layers.1"),
    ("conv_shortcut", "skip_connection"),
)
UNET_ENDS = {
    "conv_in": "input_blocks.0.0",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}


def unet_names(names: Iterable[str], config: Mapping[str, Any]) -> dict[str, OriginalTensor]:
    """A UNet of Stable Diffusion 1, 2 or XL."""
    layers, names = config["layers_per_block"], list(names)
    attended = {int(found[1]) for name in names if (found := re.match(r"up_blocks\.(\d+)\.attentions", name))}
    return {_unet_name(name, layers, attended): OriginalTensor((name,)) for name in names}


def _unet_name(name: str, layers: int, attended: set[int]) -> str:
    """The original name: blocks of all levels are counted through, and a level has its layers and one for its size."""
    found = re.match(r"(down|up|mid)_blocks?\.(?:(\d+)\.)?(resnets|attentions|downsamplers|upsamplers)\.(\d+)\.", name)
    if found is None:
        start = name.rpartition(".")[0]
        return name.replace(start, UNET_ENDS[start], 1)
    side, level, kind, layer = found[1], int(found[2] or 0), found[3], int(found[4])
    rest = name[found.end() :]
    if kind == "resnets":
        for ours, theirs in RESNET:
            rest = re.sub(rf"^{ours}\.", f"{theirs}.", rest)
    if side == "mid":
        return f"middle_block.{2 * layer if kind == 'resnets' else 2 * layer + 1}.{rest}"
    if kind == "downsamplers":
        return f"input_blocks.{(level + 1) * (layers + 1)}.0.{rest.replace('conv.', 'op.', 1)}"
    if kind == "upsamplers":
        return f"output_blocks.{level * (layers + 1) + layers}.{2 if level in attended else 1}.{rest}"
    number = 0 if kind == "resnets" else 1
    if side == "down":
        return f"input_blocks.{1 + level * (layers + 1) + layer}.{number}.{rest}"
    return f"output_blocks.{level * (layers + 1) + layer}.{number}.{rest}"


VAE = (
    (r"\.down_blocks\.(\d+)\.resnets\.(\d+)\.", r".down.\1.block.\2."),
    (r"\.down_blocks\.(\d+)\.downsamplers\.0\.", r".down.\1.downsample."),
    (r"\.mid_block\.attentions\.0\.group_norm\.", ".mid.attn_1.norm."),
    (r"\.mid_block\.attentions\.0\.to_([qkv])\.", r".mid.attn_1.\1."),
    (r"\.mid_block\.attentions\.0\.to_out\.0\.", ".mid.attn_1.proj_out."),
    (r"\.conv_norm_out\.", ".norm_out."),
    (r"\.conv_shortcut\.", ".nin_shortcut."),
)
KERNEL = re.compile(r"\.mid_block\.attentions\.0\.to_.*weight$")


def vae_names(names: Iterable[str], config: Mapping[str, Any]) -> dict[str, OriginalTensor]:
    """An autoencoder of Stable Diffusion or FLUX.1, whose decoder counts its levels from the finest."""
    last = len(config["block_out_channels"]) - 1

    def renamed(name: str) -> str:
        name = re.sub(r"\.mid_block\.resnets\.(\d+)\.", lambda found: f".mid.block_{int(found[1]) + 1}.", name)
        name = re.sub(
            r"\.up_blocks\.(\d+)\.(resnets|upsamplers)\.(\d+)\.",
            lambda found: (
                f".up.{last - int(found[1])}." + (f"block.{found[3]}." if found[2] == "resnets" else "upsample.")
            ),
            name,
        )
        for ours, theirs in VAE:
            name = re.sub(ours, theirs, name)
        return name

    return {renamed(name): OriginalTensor((name,), CONVOLUTION if KERNEL.search(name) else SAME) for name in names}


def t5_names(names: Iterable[str], config: Mapping[str, Any]) -> dict[str, OriginalTensor]:
    """T5 as transformers stores it; diffusers looks for its embedding under both of its names."""
    found = {name: OriginalTensor((name,)) for name in names}
    return {**found, "encoder.embed_tokens.weight": OriginalTensor(("shared.weight",), again=True)}


def clip_names(names: Iterable[str], config: Mapping[str, Any]) -> dict[str, OriginalTensor]:
    """A CLIP text encoder as transformers stored it first, with `text_model.` before each name."""
    return {f"text_model.{name.removeprefix('text_model.')}": OriginalTensor((name,)) for name in names}


OPEN_CLIP = (
    ("encoder.layers.", "transformer.resblocks."),
    ("layer_norm1.", "ln_1."),
    ("layer_norm2.", "ln_2."),
    ("mlp.fc1.", "mlp.c_fc."),
    ("mlp.fc2.", "mlp.c_proj."),
    ("self_attn.out_proj.", "attn.out_proj."),
    ("embeddings.token_embedding.", "token_embedding."),
    ("embeddings.position_embedding.weight", "positional_embedding"),
    ("final_layer_norm.", "ln_final."),
)


def open_clip_names(names: Iterable[str], config: Mapping[str, Any]) -> dict[str, OriginalTensor]:
    """A CLIP text encoder as OpenCLIP stores it: queries, keys and values in one tensor, the projection transposed."""
    found: dict[str, OriginalTensor] = {}
    for name in names:
        short = name.removeprefix("text_model.")
        if short == "text_projection.weight":
            found["text_projection"] = OriginalTensor((name,), TRANSPOSED)
            continue
        attention = re.fullmatch(r"encoder\.layers\.(\d+)\.self_attn\.([qkv])_proj\.(weight|bias)", short)
        if attention:
            parts = tuple(name.replace(f"{attention[2]}_proj", f"{each}_proj") for each in "qkv")
            found[f"transformer.resblocks.{attention[1]}.attn.in_proj_{attention[3]}"] = OriginalTensor(parts)
            continue
        for ours, theirs in OPEN_CLIP:
            short = short.replace(ours, theirs)
        found[short] = OriginalTensor((name,))
    return found


FLUX_ENDS = {
    "time_text_embed.timestep_embedder.linear_1": "time_in.in_layer",
    "time_text_embed.timestep_embedder.linear_2": "time_in.out_layer",
    "time_text_embed.text_embedder.linear_1": "vector_in.in_layer",
    "time_text_embed.text_embedder.linear_2": "vector_in.out_layer",
    "time_text_embed.guidance_embedder.linear_1": "guidance_in.in_layer",
    "time_text_embed.guidance_embedder.linear_2": "guidance_in.out_layer",
    "context_embedder": "txt_in",
    "x_embedder": "img_in",
    "norm_out.linear": "final_layer.adaLN_modulation.1",
    "proj_out": "final_layer.linear",
}
FLUX_DOUBLE = {
    "norm1.linear.{}": "img_mod.lin.{}",
    "norm1_context.linear.{}": "txt_mod.lin.{}",
    "attn.to_q.{} attn.to_k.{} attn.to_v.{}": "img_attn.qkv.{}",
    "attn.add_q_proj.{} attn.add_k_proj.{} attn.add_v_proj.{}": "txt_attn.qkv.{}",
    "attn.norm_q.weight": "img_attn.norm.query_norm.scale",
    "attn.norm_k.weight": "img_attn.norm.key_norm.scale",
    "attn.norm_added_q.weight": "txt_attn.norm.query_norm.scale",
    "attn.norm_added_k.weight": "txt_attn.norm.key_norm.scale",
    "attn.to_out.0.{}": "img_attn.proj.{}",
    "attn.to_add_out.{}": "txt_attn.proj.{}",
    "ff.net.0.proj.{}": "img_mlp.0.{}",
    "ff.net.2.{}": "img_mlp.2.{}",
    "ff_context.net.0.proj.{}": "txt_mlp.0.{}",
    "ff_context.net.2.{}": "txt_mlp.2.{}",
}
FLUX_SINGLE = {
    "norm.linear.{}": "modulation.lin.{}",
    "attn.to_q.{} attn.to_k.{} attn.to_v.{} proj_mlp.{}": "linear1.{}",
    "attn.norm_q.weight": "norm.query_norm.scale",
    "attn.norm_k.weight": "norm.key_norm.scale",
    "proj_out.{}": "linear2.{}",
}
FLUX_BLOCKS = (
    ("transformer_blocks", "double_blocks", FLUX_DOUBLE),
    ("single_transformer_blocks", "single_blocks", FLUX_SINGLE),
)


def flux_names(names: Iterable[str], config: Mapping[str, Any]) -> dict[str, OriginalTensor]:
    """FLUX.1's transformer: projections that read the same input are one tensor."""
    known, found = set(names), {}
    for ours, theirs in FLUX_ENDS.items():
        for kind in ("weight", "bias"):
            if f"{ours}.{kind}" in known:
                form = SWAPPED if ours == "norm_out.linear" else SAME
                found[f"{theirs}.{kind}"] = OriginalTensor((f"{ours}.{kind}",), form)
    for ours, theirs, table in FLUX_BLOCKS:
        blocks = sorted({int(match[1]) for name in known if (match := re.match(rf"{ours}\.(\d+)\.", name))})
        for block in blocks:
            for parts, original in table.items():
                for kind in ("weight", "bias") if "{}" in parts else ("",):
                    here = tuple(f"{ours}.{block}.{part.format(kind)}" for part in parts.split())
                    if known.issuperset(here):
                        found[f"{theirs}.{block}.{original.format(kind)}"] = OriginalTensor(here)
    return found
