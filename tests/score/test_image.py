"""Image statistics, against values that can be worked out."""

from __future__ import annotations

import io

import pytest
import torch
from PIL import Image

from palate.core.errors import InputError
from palate.score.image import MEASURES, ImageScorer
from palate.score.load import load_scorer

torch.manual_seed(0)
NOISE = torch.rand(2, 3, 32, 32)


def flat(red: float, green: float, blue: float) -> torch.Tensor:
    return torch.tensor([red, green, blue]).view(1, 3, 1, 1).expand(1, 3, 32, 32)


def score(measure: str, images) -> torch.Tensor:
    return ImageScorer(measure)(images, [""] * len(images))


def halves() -> torch.Tensor:
    """Left half black, right half white."""
    image = torch.zeros(1, 3, 32, 32)
    image[..., 16:] = 1
    return image


@pytest.mark.shows("image", "formula")
def test_brightness_and_contrast_worked_by_hand():
    assert score("brightness", flat(1.0, 0.0, 0.0)).item() == pytest.approx(0.299)
    assert score("contrast", halves()).item() == pytest.approx(0.5)
    assert score("contrast", flat(0.3, 0.3, 0.3)).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.shows("image", "formula")
def test_sharpness_worked_by_hand():
    """The Laplacian of a step is 255 on one side and -255 on the other, in 2 of the 30 columns that have neighbours."""
    assert score("sharpness", halves()).item() == pytest.approx(2 / 30 * 255**2, rel=1e-5)


@pytest.mark.shows("image", "formula")
def test_colourfulness_worked_by_hand():
    assert score("colourfulness", flat(0.5, 0.5, 0.5)).item() == pytest.approx(0, abs=1e-4)
    red = 0.3 * (255**2 + 127.5**2) ** 0.5  # one colour has no spread: rg = 255, yb = 127.5
    assert score("colourfulness", flat(1.0, 0.0, 0.0)).item() == pytest.approx(red, rel=1e-5)


def test_the_spectrum_of_noise_is_flat_and_that_of_a_power_law_has_its_slope():
    assert score("spectrum", torch.rand(4, 3, 128, 128)).tolist() == pytest.approx([0] * 4, abs=0.1)
    frequency = torch.hypot(torch.fft.fftfreq(128)[:, None], torch.fft.rfftfreq(128)[None])
    phase = torch.exp(2j * torch.pi * torch.rand(128, 65))
    pink = torch.fft.irfft2(phase / frequency.clamp(min=1 / 128), s=(128, 128))
    grey = (pink / pink.std() / 10 + 0.5).expand(1, 3, 128, 128)
    assert score("spectrum", grey).item() == pytest.approx(-2, abs=0.15)


@pytest.mark.shows("image", "formula")
def test_the_size_is_that_of_pillows_jpeg_of_quality_95():
    image = Image.effect_noise((40, 24), 60).convert("RGB")
    data = io.BytesIO()
    image.save(data, "jpeg", quality=95)
    assert score("incompressibility", [image]).item() == pytest.approx(data.tell() / 1000)
    assert score("compressibility", [image]).item() == pytest.approx(-data.tell() / 1000)


@pytest.mark.parametrize("measure", MEASURES)
def test_a_tensor_and_the_same_images_have_equal_scores(measure):
    pixels = (255 * NOISE).round().byte()
    pictures = [Image.fromarray(each.permute(1, 2, 0).numpy()) for each in pixels]
    torch.testing.assert_close(score(measure, pictures), score(measure, pixels.float() / 255))


@pytest.mark.parametrize("measure", [name for name in MEASURES if not name.endswith("compressibility")])
@pytest.mark.shows("image", "gradient")
def test_a_differentiable_measure_has_a_gradient(measure):
    images = NOISE.clone().requires_grad_()
    assert ImageScorer(measure).differentiable
    (slope,) = torch.autograd.grad(score(measure, images).sum(), images)
    assert slope.isfinite().all() and slope.abs().sum() > 0


def test_a_measure_is_loaded_by_its_spec_and_images_may_differ_in_size():
    scorer = load_scorer("image:sharpness")
    assert scorer.name == "image:sharpness" and scorer.higher_is_better
    assert scorer([Image.new("RGB", (9, 8)), Image.new("RGB", (16, 16))], ["a", "b"]).tolist() == [0, 0]
    with pytest.raises(InputError, match="no measure 'sharpnes'; did you mean 'sharpness'"):
        load_scorer("image:sharpnes")
