"""ImageReward on random weights in its authors' names, against its network computed from the definition."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from tiny_pipelines import tiny_tokenizer
from torch import Tensor
from transformers import BlipTextConfig, BlipVisionConfig

from palate.core.errors import InputError
from palate.score import imagereward
from palate.score.imagereward import LONGEST, MEAN, STD, BlipReward, ImageRewardScorer
from palate.score.load import load_scorer

SIDE, PATCH, DEPTH = 32, 16, 2
VISION, TEXT, HEADS, VISION_HEADS = 16, 12, 3, 2
WIDTHS = (TEXT, 10, 8, 6, 4, 1)
PLACES = (0, 2, 4, 6, 7)  # of the linear layers of the head in the released file, between layers of dropout
PROMPTS = ["a red star", "two blue circles on a green background, far longer than the model reads it to the end"]


class Drawn(dict[str, Tensor]):
    """Random tensors by their names."""

    generator = torch.Generator().manual_seed(5)

    def linear(self, name: str, into: int, out: int) -> None:
        self[f"{name}.weight"] = 0.3 * torch.randn(out, into, generator=self.generator)
        self[f"{name}.bias"] = 0.3 * torch.randn(out, generator=self.generator)

    def norm(self, name: str, width: int) -> None:
        self[f"{name}.weight"] = 1 + 0.3 * torch.randn(width, generator=self.generator)
        self[f"{name}.bias"] = 0.3 * torch.randn(width, generator=self.generator)


def random_imagereward(words: int) -> dict[str, Tensor]:
    """The tensors of a checkpoint, small."""
    tensors = Drawn()
    linear, norm, generator = tensors.linear, tensors.norm, tensors.generator
    see, read = "blip.visual_encoder", "blip.text_encoder"
    tensors[f"{see}.cls_token"] = torch.randn(1, 1, VISION, generator=generator)
    tensors[f"{see}.pos_embed"] = torch.randn(1, (SIDE // PATCH) ** 2 + 1, VISION, generator=generator)
    tensors[f"{see}.patch_embed.proj.weight"] = 0.1 * torch.randn(VISION, 3, PATCH, PATCH, generator=generator)
    tensors[f"{see}.patch_embed.proj.bias"] = torch.randn(VISION, generator=generator)
    norm(f"{see}.norm", VISION)
    for layer in range(DEPTH):
        block = f"{see}.blocks.{layer}"
        norm(f"{block}.norm1", VISION)
        norm(f"{block}.norm2", VISION)
        linear(f"{block}.attn.qkv", VISION, 3 * VISION)
        linear(f"{block}.attn.proj", VISION, VISION)
        linear(f"{block}.mlp.fc1", VISION, 20)
        linear(f"{block}.mlp.fc2", 20, VISION)
    tensors[f"{read}.embeddings.word_embeddings.weight"] = torch.randn(words, TEXT, generator=generator)
    tensors[f"{read}.embeddings.position_embeddings.weight"] = torch.randn(40, TEXT, generator=generator)
    tensors[f"{read}.embeddings.position_ids"] = torch.arange(40)[None]
    norm(f"{read}.embeddings.LayerNorm", TEXT)
    for layer in range(DEPTH):
        block = f"{read}.encoder.layer.{layer}"
        for kind, width in (("attention", TEXT), ("crossattention", VISION)):
            linear(f"{block}.{kind}.self.query", TEXT, TEXT)
            linear(f"{block}.{kind}.self.key", width, TEXT)
            linear(f"{block}.{kind}.self.value", width, TEXT)
            linear(f"{block}.{kind}.output.dense", TEXT, TEXT)
            norm(f"{block}.{kind}.output.LayerNorm", TEXT)
        linear(f"{block}.intermediate.dense", TEXT, 20)
        linear(f"{block}.output.dense", 20, TEXT)
        norm(f"{block}.output.LayerNorm", TEXT)
    for place, (into, out) in zip(PLACES, pairwise(WIDTHS)):
        linear(f"mlp.layers.{place}", into, out)
    return tensors | {"blip.text_proj.weight": torch.zeros(2, 2)}  # of BLIP's pretraining: not used


def rewards(tensors: dict[str, Tensor], pixels: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
    """Of normalised images [B, 3, S, S] and tokens [B, L]."""
    y = _read(tensors, _see(tensors, pixels), ids, mask)[:, 0]
    for place in PLACES:
        y = _linear(tensors, f"mlp.layers.{place}", y)
    return (y[:, 0] - 0.16717362830052426) / 1.0333394966054072


def _linear(tensors: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    return F.linear(x, tensors[f"{name}.weight"], tensors[f"{name}.bias"])


def _norm(tensors: dict[str, Tensor], name: str, x: Tensor, eps: float) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], tensors[f"{name}.weight"], tensors[f"{name}.bias"], eps)


def _attend(q: Tensor, k: Tensor, v: Tensor, heads: int, hidden: Tensor | None = None) -> Tensor:
    q, k, v = (each.unflatten(2, (heads, -1)).transpose(1, 2) for each in (q, k, v))
    scores = q @ k.transpose(2, 3) / math.sqrt(q.shape[-1])
    scores = scores if hidden is None else scores.masked_fill(hidden[:, None, None], -torch.inf)
    return (scores.softmax(-1) @ v).transpose(1, 2).flatten(2)


def _see(tensors: dict[str, Tensor], pixels: Tensor) -> Tensor:
    """The features of images [B, N, D], by a vision transformer with its norms first."""
    see = "blip.visual_encoder"
    weight, bias = (tensors[f"{see}.patch_embed.proj.{kind}"] for kind in ("weight", "bias"))
    x = F.conv2d(pixels, weight, bias, stride=PATCH).flatten(2).transpose(1, 2)
    x = torch.cat([tensors[f"{see}.cls_token"].expand(len(x), -1, -1), x], 1) + tensors[f"{see}.pos_embed"]
    for layer in range(DEPTH):
        block = f"{see}.blocks.{layer}"
        q, k, v = _linear(tensors, f"{block}.attn.qkv", _norm(tensors, f"{block}.norm1", x, 1e-6)).chunk(3, -1)
        x = x + _linear(tensors, f"{block}.attn.proj", _attend(q, k, v, VISION_HEADS))
        inner = F.gelu(_linear(tensors, f"{block}.mlp.fc1", _norm(tensors, f"{block}.norm2", x, 1e-6)))
        x = x + _linear(tensors, f"{block}.mlp.fc2", inner)
    return _norm(tensors, f"{see}.norm", x, 1e-6)


def _read(tensors: dict[str, Tensor], seen: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
    """The features of tokens [B, L, D], by BERT with cross-attention to the image, its norms last."""
    read = "blip.text_encoder"
    y = tensors[f"{read}.embeddings.word_embeddings.weight"][ids]
    y = y + tensors[f"{read}.embeddings.position_embeddings.weight"][: ids.shape[1]]
    y = _norm(tensors, f"{read}.embeddings.LayerNorm", y, 1e-12)
    for layer in range(DEPTH):
        block = f"{read}.encoder.layer.{layer}"
        for kind, other, hidden in (("attention", None, mask == 0), ("crossattention", seen, None)):
            start, source = f"{block}.{kind}", y if other is None else other
            q = _linear(tensors, f"{start}.self.query", y)
            k, v = (_linear(tensors, f"{start}.self.{part}", source) for part in ("key", "value"))
            attended = _linear(tensors, f"{start}.output.dense", _attend(q, k, v, HEADS, hidden))
            y = _norm(tensors, f"{start}.output.LayerNorm", attended + y, 1e-12)
        inner = F.gelu(_linear(tensors, f"{block}.intermediate.dense", y))
        y = _norm(tensors, f"{block}.output.LayerNorm", _linear(tensors, f"{block}.output.dense", inner) + y, 1e-12)
    return y


@pytest.fixture
def twin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, dict[str, Tensor], Any]:
    """A checkpoint in the released names, its tensors, and its tokenizer; the classes are built small."""
    tokenizer = tiny_tokenizer()
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    tensors = random_imagereward(len(tokenizer))
    torch.save(tensors, tmp_path / "ImageReward.pt")
    tower: dict[str, Any] = {"num_hidden_layers": DEPTH, "intermediate_size": 20}
    vision = BlipVisionConfig(
        hidden_size=VISION,
        num_attention_heads=VISION_HEADS,
        image_size=SIDE,
        patch_size=PATCH,
        layer_norm_eps=1e-6,
        **tower,
    )
    text = BlipTextConfig(
        hidden_size=TEXT, num_attention_heads=HEADS, encoder_hidden_size=VISION, vocab_size=len(tokenizer), **tower
    )
    text.max_position_embeddings = 40
    monkeypatch.setattr(imagereward, "BlipReward", lambda: BlipReward(vision, text, WIDTHS))
    monkeypatch.setattr(imagereward, "TOKENIZER", str(tmp_path / "tokenizer"))
    return tmp_path / "ImageReward.pt", tensors, tokenizer


def picture(size: tuple[int, int], seed: int) -> Image.Image:
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


@pytest.mark.parametrize("size", [(48, 48), (60, 37), (33, 50)])
@pytest.mark.shows("imagereward", "formula")
def test_a_reward_is_that_of_the_network_computed_from_its_definition(twin: Any, size: tuple[int, int]) -> None:
    file, tensors, tokenizer = twin
    images = [picture(size, seed) for seed in range(2)]
    scores = load_scorer(f"imagereward:{file}")(images, PROMPTS)
    tokens = tokenizer(PROMPTS, padding="max_length", truncation=True, max_length=35, return_tensors="pt")
    scale = SIDE / min(size)
    width, height = (SIDE if side == min(size) else int(side * scale) for side in size)
    left, top = round((width - SIDE) / 2), round((height - SIDE) / 2)
    pixels = []
    for image in images:
        small = image.resize((width, height), Image.Resampling.BICUBIC).crop((left, top, left + SIDE, top + SIDE))
        array = torch.from_numpy(np.asarray(small).copy()).permute(2, 0, 1).float() / 255
        mean, std = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
        pixels.append((array - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1))
    expected = rewards(tensors, torch.stack(pixels), tokens.input_ids, tokens.attention_mask)
    torch.testing.assert_close(scores, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.shows("imagereward", "gradient")
def test_the_reward_has_a_gradient_with_respect_to_the_image(twin: Any) -> None:
    images = torch.rand(2, 3, 40, 40, generator=torch.Generator().manual_seed(0)).requires_grad_()
    scorer = load_scorer(f"imagereward:{twin[0]}")
    (gradient,) = torch.autograd.grad(scorer(images, PROMPTS).sum(), images)
    step = 1e-2 * gradient / gradient.norm()
    with torch.no_grad():
        change = scorer(images + step, PROMPTS).sum() - scorer(images - step, PROMPTS).sum()
    assert change.item() == pytest.approx(2e-2 * gradient.norm().item(), rel=0.02)


def test_a_checkpoint_with_missing_tensors_and_an_unknown_version_are_refused(twin: Any, tmp_path: Path) -> None:
    _, tensors, _ = twin
    torch.save({key: value for key, value in tensors.items() if "pos_embed" not in key}, tmp_path / "less.pt")
    with pytest.raises(InputError, match="lacks 1 tensors of this scorer, such as 'vision.embeddings.posi"):
        load_scorer(f"imagereward:{tmp_path}/less.pt")
    with pytest.raises(InputError, match="ImageReward has no version 'v2'"):
        ImageRewardScorer("v2")
    assert (LONGEST, MEAN, STD) == (35, 0.16717362830052426, 1.0333394966054072)


@pytest.mark.shows("imagereward", "package", "weights")
def test_the_released_weights_give_the_published_scores() -> None:
    """Runs where the weights are in the hub's cache."""
    folder = Path(__file__).parents[3] / "shared/data/reference_images/imagereward"
    if not folder.is_dir():
        pytest.skip("the reference images are not here")
    try:
        scorer = load_scorer("imagereward")
    except InputError as error:
        pytest.skip(str(error))
    prompt = "a painting of an ocean with clouds and birds, day time, low depth field effect"
    images = [Image.open(folder / f"{number}.webp") for number in range(1, 5)]
    published = [0.5811622738838196, 0.2745276093482971, -1.4131819009780884, -2.029569625854492]
    assert scorer(images, [prompt] * 4).tolist() == pytest.approx(published, abs=0.02)
