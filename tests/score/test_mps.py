"""MPS on random weights in its authors' names, against its network computed from the definition."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_pipelines import random_clip
from torch import Tensor
from transformers import AutoTokenizer, CLIPModel

from palate.core.errors import InputError
from palate.score.load import load_scorer
from palate.score.mps import CONDITION, RELATED, mps_from_released
from palate.score.pixels import cropped, normalized

HEADS, HEAD, HIDDEN, BLOCKS = 3, 4, 10, 2
PROMPTS = ["a red star", "two blue circles on a green background"]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of a tiny CLIP, and a file with the tensors of an MPS made of it, by their released names."""
    folder = random_clip(tmp_path_factory.mktemp("mps") / "clip")
    clip = CLIPModel.from_pretrained(folder)
    generator, width = torch.Generator().manual_seed(3), clip.config.projection_dim
    tensors: dict[str, Tensor] = {f"model.{name}": value for name, value in clip.state_dict().items()}

    def linear(name: str, out: int, into: int) -> None:
        tensors[f"cross_model.layers.{name}.weight"] = 0.4 * torch.randn(out, into, generator=generator)

    for block in range(BLOCKS):
        for kind in (0, 1):
            norm = f"cross_model.layers.{block}.{kind}.fn.norm"
            tensors[f"{norm}.weight"] = 1 + 0.3 * torch.randn(width, generator=generator)
            tensors[f"{norm}.bias"] = torch.zeros(width)
        linear(f"{block}.0.fn.to_q", HEADS * HEAD, width)
        linear(f"{block}.0.fn.to_kv", 2 * HEAD, width)
        linear(f"{block}.0.fn.to_out", width, HEADS * HEAD)
        linear(f"{block}.0.fn.ff.0", 2 * HIDDEN, width)
        linear(f"{block}.0.fn.ff.2", width, HIDDEN)
        linear(f"{block}.1.fn.fused_attn_ff_proj", HEADS * HEAD + 2 * HEAD + 2 * HIDDEN, width)
        linear(f"{block}.1.fn.attn_out", width, HEADS * HEAD)
        linear(f"{block}.1.fn.ff_out.1", width, HIDDEN)
        tensors[f"cross_model.layers.{block}.1.fn.rotary_emb.inv_freq"] = torch.zeros(HEAD // 2)  # computed anew
    torch.save(tensors, folder / "mps.pth")
    return folder / "mps.pth"


@pytest.fixture(scope="module")
def images() -> list[Image.Image]:
    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(0, 256, (40 + 8 * i, 60, 3), dtype=np.uint8)) for i in range(2)]


def normal(x: Tensor, tensors: dict[str, Tensor], name: str) -> Tensor:
    middle, spread = x.mean(-1, keepdim=True), x.var(-1, unbiased=False, keepdim=True)
    return (x - middle) / (spread + 1e-5).sqrt() * tensors[f"{name}.norm.weight"]


def feed(gate: Tensor, down: Tensor) -> Tensor:
    value, switch = gate[:, :HIDDEN], gate[:, HIDDEN:]
    return (value * switch * switch.sigmoid()) @ down.T


def turned(x: Tensor) -> Tensor:
    """Each pair of places (j, j + d/2) of row p is rotated by p / 10000^(2 j / d)."""
    found = x.clone()
    for p in range(len(x)):
        for j in range(HEAD // 2):
            angle = torch.tensor(p / 10000 ** (2 * j / HEAD))
            a, b = x[p, j], x[p, j + HEAD // 2]
            found[p, j], found[p, j + HEAD // 2] = a * angle.cos() - b * angle.sin(), b * angle.cos() + a * angle.sin()
    return found


def defined(clip: Any, tensors: dict[str, Tensor], pixels: Tensor, ids: Tensor, condition: Tensor) -> Tensor:
    """The score of one image [3, H, W] and its prompt's tokens [L]."""

    def read(tokens: Tensor) -> tuple[Tensor, Tensor]:
        found = clip.text_model(tokens[None])
        return clip.text_projection(found.last_hidden_state)[0], clip.text_projection(found.pooler_output)[0]

    text, whole = read(ids)
    wanted, _ = read(condition)
    x = clip.visual_projection(clip.vision_model(pixels[None]).last_hidden_state)[0]
    products = torch.stack([max(row @ other for other in wanted) for row in text])
    left_out = torch.where(products / products.max() > RELATED, 0.0, -torch.inf)
    for block in range(BLOCKS):
        cross, own = (f"cross_model.layers.{block}.{kind}.fn" for kind in (0, 1))
        n = normal(x, tensors, cross)
        key, value = (text @ tensors[f"{cross}.to_kv.weight"].T).chunk(2, dim=-1)
        queries = (n @ tensors[f"{cross}.to_q.weight"].T).split(HEAD, dim=-1)
        heads = [((q * HEAD**-0.5) @ key.T + left_out).softmax(-1) @ value for q in queries]
        gate = n @ tensors[f"{cross}.ff.0.weight"].T
        x = x + torch.cat(heads, -1) @ tensors[f"{cross}.to_out.weight"].T + feed(gate, tensors[f"{cross}.ff.2.weight"])
        n = normal(x, tensors, own) @ tensors[f"{own}.fused_attn_ff_proj.weight"].T
        query, key, value, gate = n.split((HEADS * HEAD, HEAD, HEAD, 2 * HIDDEN), dim=-1)
        heads = [(turned(q) * HEAD**-0.5 @ turned(key).T).softmax(-1) @ value for q in query.split(HEAD, dim=-1)]
        x = x + torch.cat(heads, -1) @ tensors[f"{own}.attn_out.weight"].T
        x = x + feed(gate, tensors[f"{own}.ff_out.1.weight"])
    first = x[0]
    return clip.logit_scale.exp() * (whole @ first) / whole.norm() / first.norm()


@pytest.mark.shows("mps", "formula")
@torch.no_grad()
def test_the_score_is_the_definitions(checkpoint: Path, images: list[Image.Image]) -> None:
    clip = CLIPModel.from_pretrained(checkpoint.parent)
    tokenizer = AutoTokenizer.from_pretrained(checkpoint.parent)
    tensors = torch.load(checkpoint)
    longest = clip.config.text_config.max_position_embeddings
    fixed = {"padding": "max_length", "truncation": True, "max_length": longest, "return_tensors": "pt"}
    ids, condition = tokenizer(PROMPTS, **fixed).input_ids, tokenizer([CONDITION], **fixed).input_ids[0]
    pixels = normalized(cropped(images, clip.config.vision_config.image_size))
    expected = [defined(clip, tensors, each, row, condition) for each, row in zip(pixels, ids)]
    scores = load_scorer(f"mps:{checkpoint}")(images, PROMPTS)
    torch.testing.assert_close(scores, torch.stack(expected), atol=1e-4, rtol=1e-4)
    assert len(set(scores.tolist())) == 2


def test_a_score_does_not_depend_on_its_batch(checkpoint: Path, images: list[Image.Image]) -> None:
    scorer = load_scorer(f"mps:{checkpoint}")
    together = scorer(images, PROMPTS)
    alone = torch.cat([scorer([image], [prompt]) for image, prompt in zip(images, PROMPTS)])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)


@pytest.mark.shows("mps", "gradient")
def test_its_gradient_is_that_of_finite_differences(checkpoint: Path) -> None:
    scorer, generator = load_scorer(f"mps:{checkpoint}"), torch.Generator().manual_seed(0)
    pixels = (0.2 + 0.6 * torch.rand(1, 3, 48, 48, generator=generator)).requires_grad_()
    (gradient,) = torch.autograd.grad(scorer(pixels, PROMPTS[:1]).sum(), pixels)
    step = 0.01 * gradient / gradient.norm()
    with torch.no_grad():
        rise = scorer(pixels + step, PROMPTS[:1]) - scorer(pixels - step, PROMPTS[:1])
    assert rise.item() == pytest.approx(0.02 * gradient.norm().item(), rel=0.05)


def test_files_that_lack_tensors_or_hold_a_module_are_refused(checkpoint: Path, tmp_path: Path) -> None:
    tensors = torch.load(checkpoint)
    del tensors["cross_model.layers.1.1.fn.attn_out.weight"]
    broken = checkpoint.parent / "broken.pth"
    torch.save(tensors, broken)
    with pytest.raises(InputError, match=r"lacks 1 tensors of this scorer, such as 'own\.1\.out\.weight'"):
        load_scorer(f"mps:{broken}")
    torch.save(torch.nn.Linear(2, 2), tmp_path / "module.pth")
    with pytest.raises(InputError, match="holds more than weights, so it is not opened"):
        load_scorer(f"mps:{tmp_path / 'module.pth'}")
    with pytest.raises(InputError, match="there is no file"):
        load_scorer(f"mps:{tmp_path / 'none.pth'}")


def test_every_tensor_of_the_released_names_finds_its_place(checkpoint: Path) -> None:
    found = mps_from_released(torch.load(checkpoint))
    assert not any(name.startswith(("model.", "cross_model.")) for name in found)
