"""Scorers give one float per image, in any batch; CLIP's is transformers' own logit and has a gradient."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import CLIPModel, CLIPProcessor

from palate.core.errors import InputError
from palate.score.base import to_tensor
from palate.score.clip import ClipScorer
from palate.score.load import load_scorer
from palate.world.grammar import combinations
from palate.world.judges import ATTRIBUTES
from palate.world.renderer import render_scenes, scene
from palate.world.scorers import MEASURES

CAPTIONS = [c.caption() for c in combinations()[:6]]


def pictures(width: int = 64, height: int = 64) -> list[Image.Image]:
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (6, 4, 4, 3), np.uint8)
    return [Image.fromarray(each).resize((width, height), Image.Resampling.BICUBIC) for each in coarse]


@pytest.mark.usefixtures("untrained_judges")
class TestJudges:
    @pytest.mark.parametrize("measure", MEASURES)
    def test_every_measure_is_a_float_an_image_in_its_range(self, measure: str) -> None:
        scorer = load_scorer(f"teacher:{measure}")
        scores = scorer(pictures(), CAPTIONS)
        assert (scores.shape, scores.dtype) == ((6,), torch.float32)
        assert scores.min() >= 0 and scores.max() <= (6 if measure == "utility" else 1)
        assert scorer.name == f"teacher:{measure}"
        assert scorer.higher_is_better is (measure != "unsafe")

    def test_a_tensor_and_pil_images_score_the_same(self) -> None:
        scorer = load_scorer("auditor:utility")
        assert torch.equal(scorer(pictures(), CAPTIONS), scorer(to_tensor(pictures()), CAPTIONS))

    def test_new_images_are_looked_at_anew(self) -> None:
        scorer = load_scorer("teacher:appeal")
        first, other = to_tensor(pictures()), to_tensor(pictures()).flip(0)
        ahead = scorer(first, CAPTIONS)
        torch.testing.assert_close(scorer(other, CAPTIONS).flip(0), ahead)
        first.copy_(other)  # in place: the same tensor with new content
        torch.testing.assert_close(scorer(first, CAPTIONS).flip(0), ahead)

    @pytest.mark.shows("teacher", "formula")
    def test_faithful_is_all_attributes(self) -> None:
        every = torch.stack([load_scorer(f"teacher:{name}")(pictures(), CAPTIONS) for name in ATTRIBUTES])
        assert torch.equal(load_scorer("teacher:faithful")(pictures(), CAPTIONS), every.prod(0))

    def test_pictures_of_another_size_are_refused(self) -> None:
        with pytest.raises(InputError, match="reads 64 x 64 pictures of the tiny world, not 128 x 32"):
            load_scorer("teacher:utility")(pictures(128, 32), CAPTIONS)


@pytest.mark.shows("teacher", "weights")
@pytest.mark.shows("auditor", "weights")
def test_the_trained_judges_read_clean_renders() -> None:
    from palate.world.plugin import WEIGHTS

    if not (WEIGHTS / "auditor" / "model.safetensors").is_file():
        pytest.skip("the judges are not trained")
    shown = combinations()[::60]
    images = render_scenes([scene(c, np.random.default_rng(i)) for i, c in enumerate(shown)])
    for judge in ("teacher", "auditor"):
        assert load_scorer(f"{judge}:faithful")(images, [c.caption() for c in shown]).mean() > 0.8


@pytest.mark.parametrize("size", [(64, 64), (40, 30), (24, 50)])
@pytest.mark.shows("clip", "package")
def test_clip_is_transformers_own_logit(clip_folder: Path, size: tuple[int, int]) -> None:
    images, model, processor = pictures(*size), CLIPModel.from_pretrained(clip_folder), _processor(clip_folder)
    batch = processor(text=CAPTIONS, images=images, return_tensors="pt", padding=True, truncation=True)
    theirs = model(**batch).logits_per_image.diagonal().detach()
    scorer = ClipScorer(str(clip_folder))
    torch.testing.assert_close(scorer(images, CAPTIONS), theirs)
    torch.testing.assert_close(scorer(to_tensor(images), CAPTIONS), theirs, atol=0.2, rtol=0)  # 8 bits in between


def _processor(folder: Path) -> Any:
    return CLIPProcessor.from_pretrained(folder)


@pytest.mark.shows("clip", "gradient")
def test_clip_s_score_of_a_tensor_has_the_gradient_of_its_finite_difference(clip_folder: Path) -> None:
    scorer = ClipScorer(str(clip_folder))
    images = to_tensor(pictures()).clamp(0.1, 0.9).requires_grad_()
    (gradient,) = torch.autograd.grad(scorer(images, CAPTIONS).sum(), images)
    step = 0.05 * gradient / gradient.norm()
    with torch.no_grad():
        change = scorer(images + step, CAPTIONS).sum() - scorer(images - step, CAPTIONS).sum()
    assert change.item() == pytest.approx(2 * 0.05 * gradient.norm().item(), rel=0.05)


@pytest.mark.parametrize("split", [1, 4])
def test_the_batch_split_changes_no_score(clip_folder: Path, split: int) -> None:
    scorer = ClipScorer(str(clip_folder))
    parts = [scorer(pictures()[i : i + split], CAPTIONS[i : i + split]) for i in range(0, 6, split)]
    torch.testing.assert_close(torch.cat(parts), scorer(pictures(), CAPTIONS))


@pytest.mark.parametrize(
    "spec, complaint",
    [
        ("teacher", "the scorer 'teacher' has no argument"),
        ("techer:utility", "has no known family; did you mean 'teacher'"),
        ("teacher:utilty", "the teacher has no measure 'utilty'; did you mean 'utility'"),
        ("clip:nowhere", "cannot load the CLIP model 'nowhere'"),
    ],
)
def test_a_spec_that_names_no_scorer_is_refused(spec: str, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        load_scorer(spec)


def test_images_of_one_batch_share_a_size() -> None:
    with pytest.raises(InputError, match="must share a size, not 4 x 4, 64 x 64"):
        to_tensor([pictures()[0], Image.new("RGB", (4, 4))])
