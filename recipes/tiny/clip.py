"""Trains tiny-clip, a CLIP of the tiny world (Radford et al. 2021), the backbone of scorers and reward models.

In this small world a caption can be true of several pictures of a batch: all of them are its positives. Each picture
also has a hard negative, a caption that is wrong in one attribute (as in Yuksekgonul et al. 2023, arXiv:2210.01936):
without these, counts are learned last.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from common import SEED, SHIPPED, batches, chunks, train, warm_cosine
from tokenizer import build_tokenizer
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPProcessor
from vae import pictures

from palate.core.seeds import numpy_generator
from palate.world.corpus import Corpus
from palate.world.grammar import (
    BACKGROUNDS,
    COLOURS,
    COUNTS,
    SHAPES,
    UNSAFE,
    WorldCombination,
    combinations,
    parse_caption,
)
from palate.world.renderer import render_scenes, scene

STEPS, BATCH, PICTURES = 6000, 128, 32768
ATTRIBUTES = {
    "count": tuple(range(1, len(COUNTS) + 1)),
    "colour": COLOURS,
    "shape": (*SHAPES, UNSAFE),
    "background": BACKGROUNDS,
}
OPEN = -1  # an attribute that a caption does not mention


def build() -> CLIPModel:
    tokenizer = build_tokenizer()
    torch.manual_seed(SEED + 3)
    tower = dict(hidden_size=128, intermediate_size=384, num_attention_heads=4)
    ids = {f"{k}_token_id": getattr(tokenizer, f"{k}_token_id") for k in ("bos", "eos", "pad")}
    text = dict(vocab_size=len(tokenizer), num_hidden_layers=2, max_position_embeddings=tokenizer.model_max_length)
    vision = dict(num_hidden_layers=3, image_size=64, patch_size=8)
    return CLIPModel(CLIPConfig(text_config=tower | text | ids, vision_config=tower | vision, projection_dim=64))


def processor() -> CLIPProcessor:
    half = [0.5, 0.5, 0.5]
    images = CLIPImageProcessor(
        size={"height": 64, "width": 64}, do_center_crop=False, image_mean=half, image_std=half, resample=3
    )
    return CLIPProcessor(images, build_tokenizer())


def features(output: object) -> torch.Tensor:
    """Projected features [B, 64], from either major version of transformers."""
    return getattr(output, "pooler_output", output)


def coded(what: object) -> list[int]:
    """The attributes of a combination or a request [4] as numbers; `OPEN` where it has none."""
    values = {name: getattr(what, name) for name in ATTRIBUTES}
    return [OPEN if v is None else ATTRIBUTES[name].index(v) for name, v in values.items()]


def true_of(said: torch.Tensor, shown: torch.Tensor) -> torch.Tensor:
    """Whether caption j [J, 4] is true of picture i [I, 4], as [I, J]."""
    return ((said[None] == OPEN) | (said[None] == shown[:, None])).all(2)


def neighbour(shown: WorldCombination, rng: np.random.Generator) -> str:
    """A caption that is wrong in one attribute, and not held out."""
    near = [
        other
        for name, values in ATTRIBUTES.items()
        for value in values
        if (other := replace(shown, **{name: value})) != shown
        and other.colour != other.background
        and not other.held_out
    ]
    return near[rng.integers(len(near))].caption()


def main() -> None:
    data = torch.cat([pictures(False, PICTURES), pictures(False, PICTURES, loose=False)])
    entries = [Corpus(SEED, faulty=False).entry(i) for i in range(PICTURES)] * 2
    near = [neighbour(e.shown, numpy_generator(SEED, "clip-neighbour", i)) for i, e in enumerate(entries)]
    captions = [[e.caption for e in entries], near]
    tokens = [
        build_tokenizer()(c, padding="max_length", truncation=True, return_tensors="pt").input_ids for c in captions
    ]
    said = [torch.tensor([coded(parse_caption(c)) for c in each]) for each in captions]
    shown = torch.tensor([coded(e.shown) for e in entries])
    model = build()
    model.set_attn_implementation("eager")  # the fused backward in bfloat16 is the slower one on a CPU
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.98), weight_decay=0.05)
    indices = batches("clip", len(data), BATCH)

    def loss(step: int) -> torch.Tensor:
        rows = indices(step)
        with torch.autocast("cpu", torch.bfloat16):
            pictured = features(model.get_image_features(pixel_values=data[rows].float() / 127.5 - 1))
            written = features(model.get_text_features(input_ids=torch.cat([each[rows] for each in tokens])))
        pictured, written = F.normalize(pictured.float(), dim=1), F.normalize(written.float(), dim=1)
        logits = model.logit_scale.exp().clamp(max=100) * pictured @ written.T  # [B, 2 B]
        right = true_of(torch.cat([each[rows] for each in said]), shown[rows]).float()
        own, mine = logits[:, :BATCH].T, right[:, :BATCH].T
        return (spread(logits, right) + spread(own, mine)) / 2

    train("clip", {"clip": model}, optimizer, loss, STEPS, schedule=warm_cosine(STEPS), average=0.998)
    model.eval().requires_grad_(False).half().save_pretrained(SHIPPED / "tiny-clip")
    processor().save_pretrained(SHIPPED / "tiny-clip")
    report(model.float())


def spread(logits: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of rows of logits [I, J] whose target is uniform over the right captions."""
    return F.cross_entropy(logits, right / right.sum(1, keepdim=True))


def report(model: CLIPModel) -> None:
    """The accuracy of choosing among all 480 captions for new pictures, for seen and for unseen combinations."""
    every = [c.caption() for c in combinations()]
    tokens = build_tokenizer()(every, padding="max_length", return_tensors="pt").input_ids
    written = F.normalize(features(model.get_text_features(input_ids=tokens)), dim=1)
    for held_out in (False, True):
        shown = combinations(held_out)
        right = 0
        for chunk in chunks(len(shown), 96):
            drawn = render_scenes([scene(shown[i], numpy_generator(SEED + 9, "clip-test", i)) for i in chunk])
            pictured = F.normalize(features(model.get_image_features(pixel_values=drawn * 2 - 1)), dim=1)
            best = (pictured @ written.T).argmax(1)
            right += sum(every[b] == shown[i].caption() for b, i in zip(best.tolist(), chunk, strict=True))
        print(f"clip: right caption of {len(every)}: {right / len(shown):.3f} ({'unseen' if held_out else 'seen'})")


if __name__ == "__main__":
    main()
