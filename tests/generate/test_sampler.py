"""An image depends only on its prompt and seed, and equals that of plain diffusers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from palate.core.errors import InputError
from palate.generate.sampler import Sampler
from palate.models.load import load_pipeline

# diffusers' Euler scheduler hands torch tensors to numpy in a way that numpy 2 frowns on.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
PROMPTS = ["a cat", "a much longer prompt", "a cat", "", "dogs"]
SEEDS = [0, 1, 2, 3, 2**32 - 1]
ROUNDING = 1.01  # of 255: float rounding may move a pixel over the edge between two whole numbers


def pixels(images: Sequence[Image.Image]) -> np.ndarray:
    return np.stack([np.asarray(image, float) for image in images])


@pytest.fixture(params=["stable_diffusion", "sdxl", "sd3"])
def model(request: pytest.FixtureRequest) -> Path:
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize("guidance", [4.0, 1.0])
def test_how_a_batch_is_split_changes_no_image(model: Path, guidance: float) -> None:
    sampler = Sampler(model, device="cpu", steps=3, guidance=guidance)
    together = pixels(sampler.sample(PROMPTS, SEEDS))
    alone = np.concatenate([pixels(sampler.sample([p], [s])) for p, s in zip(PROMPTS, SEEDS)])
    np.testing.assert_allclose(together, alone, atol=ROUNDING)
    assert np.abs(together[0] - together[2]).max() > 10  # another seed, another picture


def test_plain_diffusers_makes_the_same_image(model: Path) -> None:
    sampler = Sampler(model, device="cpu", steps=3, guidance=4.0)
    pipeline = load_pipeline(model)  # diffusers' own
    generator = torch.Generator().manual_seed(7)
    (theirs,) = pipeline("a cat", num_inference_steps=3, guidance_scale=4.0, generator=generator).images
    np.testing.assert_allclose(pixels(sampler.sample(["a cat"], [7])), pixels([theirs]), atol=ROUNDING)


def test_steps_and_guidance_default_to_the_pipeline_s_and_then_to_the_model_s_own(model: Path, tmp_path: Path) -> None:
    family = {"random-sd": (50, 7.5), "random-sdxl": (50, 5.0), "random-sd3": (28, 7.0)}[model.name]
    sampler = Sampler(model, device="cpu")
    assert (sampler.steps, sampler.guidance) == family
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in model.iterdir():
        (copy / file.name).symlink_to(file)
    (copy / "palate.json").write_text('{"steps": 12, "guidance": 3.0}')
    sampler = Sampler(copy, device="cpu", guidance=2.0)
    assert (sampler.steps, sampler.guidance) == (12, 2.0)


def test_an_unknown_model_or_dtype_is_refused(model: Path) -> None:
    with pytest.raises(InputError, match="no model named 'nowhere'"):
        Sampler("nowhere")
    with pytest.raises(InputError, match="unknown dtype 'float8'"):
        Sampler(model, dtype="float8")


def test_torch_keeps_32_bits_of_a_cpu_generator_s_seed() -> None:
    """The reason for seeds of 32 bits."""
    wide, low = (torch.Generator().manual_seed(seed) for seed in (2**32 + 5, 5))
    assert torch.equal(torch.randn(4, generator=wide), torch.randn(4, generator=low))


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_of_more_than_32_bits_is_refused(model: Path, seed: int) -> None:
    with pytest.raises(InputError, match=f"from 0 to 4294967295, as torch uses only 32 bits, not {seed}"):
        Sampler(model, device="cpu", steps=1).draw(["a"], [seed])


def test_a_family_without_an_adapter_generates_through_its_pipeline(model: Path, monkeypatch) -> None:
    expected = Sampler(model, device="cpu", steps=2).sample(["a cat"], [7])
    monkeypatch.setattr("palate.models.families.FAMILIES", {})
    found = Sampler(model, device="cpu", steps=2).sample(["a cat"], [7])
    np.testing.assert_allclose(pixels(found), pixels(expected), atol=ROUNDING)
