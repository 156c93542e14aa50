"""CLIP models of open_clip as those of transformers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from palate.score.checkpoint_files import require_names

if TYPE_CHECKING:
    from torch import Tensor

VISION, TEXT = "vision_model", "text_model"
LAYER = {
    "attn.out_proj": "self_attn.out_proj",
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}
"""The parts of a layer: in open_clip, and in transformers."""
SINGLE = {
    "visual.class_embedding": f"{VISION}.embeddings.class_embedding",
    "visual.positional_embedding": f"{VISION}.embeddings.position_embedding.weight",
    "visual.conv1.weight": f"{VISION}.embeddings.patch_embedding.weight",
    "visual.ln_pre.weight": f"{VISION}.pre_layrnorm.weight",
    "visual.ln_pre.bias": f"{VISION}.pre_layrnorm.bias",
    "visual.ln_post.weight": f"{VISION}.post_layernorm.weight",
    "visual.ln_post.bias": f"{VISION}.post_layernorm.bias",
    "visual.proj": "visual_projection.weight",
    "token_embedding.weight": f"{TEXT}.embeddings.token_embedding.weight",
    "positional_embedding": f"{TEXT}.embeddings.position_embedding.weight",
    "ln_final.weight": f"{TEXT}.final_layer_norm.weight",
    "ln_final.bias": f"{TEXT}.final_layer_norm.bias",
    "text_projection": "text_projection.weight",
    "logit_scale": "logit_scale",
}
TRANSPOSED = ("visual.proj", "text_projection")


def clip_from_open_clip(
    path: Path, tensors: dict[str, Tensor], vision_heads: int, text_heads: int, eos: int, activation: str = "gelu"
) -> Any:
    """A `CLIPModel` of transformers with the weights of a CLIP of open_clip, in float32.

    Args:
        path: the file that the tensors are from, for messages.
        tensors: by their names in open_clip; others than those of a CLIP are ignored.
        vision_heads: attention heads of the image encoder, which the shapes do not say.
        text_heads: those of the text encoder.
        eos: the number of the token at whose place a text's feature is read.
        activation: `gelu`, or `quick_gelu` for OpenAI's weights.

    Raises:
        InputError: a tensor is missing.
    """
    from transformers import CLIPConfig, CLIPModel

    require_names(path, tensors, set(SINGLE))
    tower: dict[str, Any] = {"hidden_act": activation, "layer_norm_eps": 1e-5}
    patches, patch = tensors["visual.positional_embedding"].shape[0] - 1, tensors["visual.conv1.weight"].shape[-1]
    vision = {
        **_shape(tensors, "visual.transformer"),
        "num_attention_heads": vision_heads,
        "patch_size": patch,
        "image_size": round(patches**0.5) * patch,
    }
    words, longest = tensors["token_embedding.weight"].shape[0], tensors["positional_embedding"].shape[0]
    text = {
        **_shape(tensors, "transformer"),
        "num_attention_heads": text_heads,
        "vocab_size": words,
        "max_position_embeddings": longest,
        "eos_token_id": eos,
    }
    width = tensors["text_projection"].shape[1]
    model = CLIPModel(CLIPConfig(vision_config=tower | vision, text_config=tower | text, projection_dim=width))
    converted = _converted(tensors)
    require_names(path, converted, set(model.state_dict()))
    model.load_state_dict({name: converted[name] for name in model.state_dict()})
    return model.float().eval()


def _shape(tensors: dict[str, Tensor], prefix: str) -> dict[str, int]:
    """Width and depth of an encoder."""
    start = f"{prefix}.resblocks."
    layers = {name.removeprefix(start).split(".")[0] for name in tensors if name.startswith(start)}
    fc = tensors.get(f"{prefix}.resblocks.0.mlp.c_fc.weight")
    inner, width = fc.shape if fc is not None else (0, 0)
    return {"hidden_size": width, "intermediate_size": inner, "num_hidden_layers": len(layers)}


def _converted(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors by their names in transformers."""
    found = {
        SINGLE[name]: value.T.contiguous() if name in TRANSPOSED else value
        for name, value in tensors.items()
        if name in SINGLE
    }
    for prefix, model in (("visual.transformer", VISION), ("transformer", TEXT)):
        start = f"{prefix}.resblocks."
        for name, value in tensors.items():
            if not name.startswith(start):
                continue
            number, _, rest = name.removeprefix(start).partition(".")
            layer = f"{model}.encoder.layers.{number}"
            if rest.startswith("attn.in_proj_"):
                kind = rest.removeprefix("attn.in_proj_")
                for part, share in zip("qkv", value.chunk(3)):
                    found[f"{layer}.self_attn.{part}_proj.{kind}"] = share
            else:
                part, _, kind = rest.rpartition(".")
                found[f"{layer}.{LAYER.get(part, part)}.{kind}"] = value
    return found
