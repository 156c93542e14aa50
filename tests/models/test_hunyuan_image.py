"""What is HunyuanImage's own: guiders, glyphs of quoted text, and a distilled model that is not trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AdaptiveProjectedMixGuidance, HunyuanImagePipeline
from twins.hunyuan_image import random_hunyuan_image

from palate.core.errors import InputError
from palate.generate.sampler import Sampler
from palate.models.families import adapter_of
from palate.models.load import load_denoiser, resolve

PLAIN, QUOTED = "a blue star", 'a sign with the word "open"'
CALL = {"height": 16, "width": 24, "num_inference_steps": 4}
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.fixture(scope="module")
def guided(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with two guiders, both of which project the guidance after the first step."""
    soon: Any = {"adaptive_projected_guidance_start_step": 0}
    return random_hunyuan_image(
        tmp_path_factory.mktemp("hunyuan"),
        guider=AdaptiveProjectedMixGuidance(guidance_scale=3.5, **soon),
        ocr_guider=AdaptiveProjectedMixGuidance(guidance_scale=6.0, adaptive_projected_guidance_scale=4.0, **soon),
    )


def theirs(folder: Path, prompt: str, seed: int, scale: float | None = None) -> np.ndarray:
    """The picture of the plain pipeline; with another scale of guidance if one is given."""
    pipeline: Any = HunyuanImagePipeline.from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    if scale is not None:
        pipeline.guider = pipeline.guider.new(guidance_scale=scale)
        pipeline.ocr_guider = pipeline.ocr_guider.new(guidance_scale=scale)
    return np.asarray(pipeline(prompt, generator=torch.Generator().manual_seed(seed), **CALL).images[0])


def largest_difference(one: Any, other: Any) -> int:
    return int(np.abs(np.asarray(one).astype(int) - np.asarray(other).astype(int)).max())


@pytest.mark.parametrize("scale", [None, 1.0, 2.0])
def test_prompts_with_and_without_quotes_give_in_one_batch_the_pictures_that_each_gives_alone(guided, scale):
    sampler = Sampler(guided, device="cpu", steps=4, guidance=scale, height=16, width=24)
    together = sampler.sample([PLAIN, QUOTED, PLAIN], [0, 1, 2])
    for seed, (prompt, ours) in enumerate(zip([PLAIN, QUOTED, PLAIN], together)):
        assert largest_difference(ours, theirs(guided, prompt, seed, scale)) <= 1


def test_the_scale_of_guidance_is_that_of_the_model_s_guider_unless_another_is_given(guided):
    sampler = Sampler(guided, device="cpu")
    assert sampler.guidance == 3.5
    assert largest_difference(theirs(guided, QUOTED, 0), theirs(guided, QUOTED, 0, 1.0)) > 20


def test_text_in_quotes_is_read_by_the_second_encoder_alone(guided):
    denoiser = load_denoiser(guided, without=("vae", "transformer"))
    glyphs = denoiser.encode_prompt([PLAIN, QUOTED, None]).ragged("glyphs")
    assert glyphs.length.tolist() == [0, len('Text "open". ') + 1, 0]  # ByT5 reads bytes and adds an end


def test_the_distilled_model_is_refused_in_one_line(tmp_path):
    folder = random_hunyuan_image(tmp_path, use_meanflow=True)
    with pytest.raises(InputError, match="is not trained: it is distilled.*MeanFlow"):
        adapter_of(resolve(folder))
