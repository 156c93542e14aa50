"""The implicit reward as a scorer: images that the model learned to prefer have higher scores, in any batch."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from tiny_pipelines import RESOLUTION, random_sd3, random_stable_diffusion

from palate.core.errors import InputError
from palate.models.load import load_denoiser, resolve
from palate.models.lora import add_lora, save_lora
from palate.score.base import to_tensor
from palate.score.implicit import ImplicitScorer
from palate.score.load import load_scorer

PROMPTS = ["a cat", "a dog", "a cat"]


def pictures(size: int = RESOLUTION) -> list[Image.Image]:
    noise = np.random.default_rng(0).integers(0, 256, (3, size, size, 3), dtype=np.uint8)
    return [Image.fromarray(pixels) for pixels in noise]


@pytest.fixture(scope="module", params=["sd", "sd3"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A LoRA that changes the model at random, as `palate align` leaves one."""
    root = tmp_path_factory.mktemp("implicit")
    base = {"sd": random_stable_diffusion, "sd3": random_sd3}[request.param](root / "base")
    denoiser = load_denoiser(base)
    add_lora(denoiser.network, 4, 4, ("to_q", "to_k", "to_v"), 0)
    torch.manual_seed(0)
    for name, parameter in denoiser.network.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.5)
    save_lora(denoiser, denoiser.network, root / "run" / "model", resolve(base))
    (root / "run" / "model" / "palate.json").write_text(json.dumps({"base": str(base)}))
    return str(root / "run")


def test_scores_do_not_depend_on_the_batch(run: str) -> None:
    scorer, images = ImplicitScorer(run), pictures()
    together = scorer(images, PROMPTS)
    alone = torch.cat([scorer([image], [prompt]) for image, prompt in zip(images, PROMPTS)])
    assert together.shape == (3,) and together.abs().min() > 0
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-3)


def test_the_mean_is_over_the_draws(run: str) -> None:
    images = pictures()
    few = [ImplicitScorer(run, draws=n)(images, PROMPTS) for n in (1, 8)]
    assert not torch.allclose(*few)


def test_a_model_scored_against_itself_gets_zero(run: str) -> None:
    scorer = ImplicitScorer(run)
    scorer._aligned.network = scorer._base.network
    torch.testing.assert_close(scorer(pictures(), PROMPTS), torch.zeros(3))


def test_images_of_different_sizes_are_scored_as_the_squares_of_training(run: str) -> None:
    scorer, (first, *_) = ImplicitScorer(run), pictures()
    wide = ImageOps.expand(first, (RESOLUTION // 2, 0))  # the same picture with black to both sides
    large = first.resize((2 * RESOLUTION, 2 * RESOLUTION))
    scores = scorer([first, wide, large], [PROMPTS[0]] * 3)
    torch.testing.assert_close(scores[0], scores[1], atol=1e-5, rtol=1e-3)
    assert scores.isfinite().all()
    torch.testing.assert_close(scores[1:2], scorer(to_tensor([wide]), PROMPTS[:1]), atol=1e-5, rtol=1e-3)


def test_an_implicit_reward_is_loaded_by_its_spec_and_refuses_models_that_were_not_aligned(run: str, tmp_path) -> None:
    scorer = load_scorer(f"implicit:{run}")
    assert scorer.name == f"implicit:{run}" and scorer.higher_is_better and not scorer.differentiable
    with pytest.raises(InputError, match="was aligned is unknown"):
        load_scorer(f"implicit:{random_stable_diffusion(tmp_path / 'base')}")
