"""A CLIP in open_clip's names with random weights, and its features computed from the definition."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

WIDTH, DEPTH, HEADS, PATCH, SIDE, OUT, LONGEST = 32, 2, 16, 8, 24, 8, 32


def random_open_clip(words: int) -> dict[str, Tensor]:
    """The tensors of both encoders."""
    generator = torch.Generator().manual_seed(3)

    def draw(*shape: int) -> Tensor:
        return 0.3 * torch.randn(*shape, generator=generator)

    tensors = {
        "visual.class_embedding": draw(WIDTH),
        "visual.positional_embedding": draw((SIDE // PATCH) ** 2 + 1, WIDTH),
        "visual.conv1.weight": draw(WIDTH, 3, PATCH, PATCH),
        "visual.proj": draw(WIDTH, OUT),
        "token_embedding.weight": draw(words, WIDTH),
        "positional_embedding": draw(LONGEST, WIDTH),
        "text_projection": draw(WIDTH, OUT),
        "logit_scale": torch.tensor(2.0),
    }
    norms = ["visual.ln_pre", "visual.ln_post", "ln_final"]
    for tower in ("visual.transformer", "transformer"):
        for layer in range(DEPTH):
            start = f"{tower}.resblocks.{layer}"
            norms += [f"{start}.ln_1", f"{start}.ln_2"]
            linear = {"attn.out_proj": (WIDTH, WIDTH), "mlp.c_fc": (64, WIDTH), "mlp.c_proj": (WIDTH, 64)}
            for name, shape in linear.items():
                tensors |= {f"{start}.{name}.weight": draw(*shape), f"{start}.{name}.bias": draw(shape[0])}
            tensors[f"{start}.attn.in_proj_weight"] = draw(3 * WIDTH, WIDTH)
            tensors[f"{start}.attn.in_proj_bias"] = draw(3 * WIDTH)
    for name in norms:
        tensors |= {f"{name}.weight": 1 + draw(WIDTH), f"{name}.bias": draw(WIDTH)}
    return tensors


def image_features(tensors: dict[str, Tensor], pixels: Tensor) -> Tensor:
    """Of normalised images [B, 3, S, S], with norm one."""
    patches = F.conv2d(pixels, tensors["visual.conv1.weight"], stride=PATCH).flatten(2).transpose(1, 2)
    first = tensors["visual.class_embedding"].expand(len(pixels), 1, -1)
    x = torch.cat([first, patches], 1) + tensors["visual.positional_embedding"]
    x = _layers(tensors, "visual.transformer", _norm(tensors, "visual.ln_pre", x), None)
    return F.normalize(_norm(tensors, "visual.ln_post", x[:, 0]) @ tensors["visual.proj"], dim=1)


def text_features(tensors: dict[str, Tensor], ids: list[int]) -> Tensor:
    """Of one text [1, D], read at its last token."""
    x = tensors["token_embedding.weight"][torch.tensor([ids])] + tensors["positional_embedding"][: len(ids)]
    future = torch.full((len(ids), len(ids)), -torch.inf).triu(1)
    x = _norm(tensors, "ln_final", _layers(tensors, "transformer", x, future))
    return F.normalize(x[:, -1] @ tensors["text_projection"], dim=1)


def _layers(tensors: dict[str, Tensor], tower: str, x: Tensor, mask: Tensor | None) -> Tensor:
    for layer in range(DEPTH):
        start = f"{tower}.resblocks.{layer}"
        attended = F.multi_head_attention_forward(
            *[_norm(tensors, f"{start}.ln_1", x).transpose(0, 1)] * 3,
            WIDTH,
            HEADS,
            tensors[f"{start}.attn.in_proj_weight"],
            tensors[f"{start}.attn.in_proj_bias"],
            None,
            None,
            False,
            0.0,
            tensors[f"{start}.attn.out_proj.weight"],
            tensors[f"{start}.attn.out_proj.bias"],
            training=False,
            need_weights=False,
            attn_mask=mask,
        )[0]
        x = x + attended.transpose(0, 1)
        hidden = F.gelu(_linear(tensors, f"{start}.mlp.c_fc", _norm(tensors, f"{start}.ln_2", x)))
        x = x + _linear(tensors, f"{start}.mlp.c_proj", hidden)
    return x


def _linear(tensors: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    return F.linear(x, tensors[f"{name}.weight"], tensors[f"{name}.bias"])


def _norm(tensors: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], tensors[f"{name}.weight"], tensors[f"{name}.bias"])
