import pytest
import torch
from PIL import Image
from tiny_pipelines import random_sd3

from palate.diffusion.parametrization import Parametrization
from palate.diffusion.schedule import FlowSchedule
from palate.models.families import sizes_of
from palate.models.load import load_denoiser, load_pipeline, resolve

# diffusers' Euler scheduler hands torch tensors to numpy in a way that numpy 2 frowns on.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
FAMILIES = ["eps", "v", "sdxl", "sd3"]


def test_parametrization_is_read_from_the_model(models):
    found = [load_denoiser(models[family], without=("vae",)).parametrization for family in FAMILIES]
    assert found == [Parametrization.EPSILON, Parametrization.V, Parametrization.EPSILON, Parametrization.VELOCITY]


def test_native_resolution_is_read_without_loading_weights(models):
    assert sizes_of(resolve(models["eps"])).native == sizes_of(resolve(models["sd3"])).native == 16


def test_load_pipeline_gives_a_pipeline_that_draws(models):
    picture = load_pipeline(models["v"])("a star", num_inference_steps=2).images[0]
    assert isinstance(picture, Image.Image) and picture.size == (16, 16)


@pytest.mark.parametrize("kind", ["exponential", "linear"])
def test_a_schedule_that_depends_on_the_picture_s_size_is_the_pipeline_s_at_that_size(tmp_path, kind):
    """Larger pictures have more tokens, and the pipeline then moves its steps towards noise."""
    dynamic = {"use_dynamic_shifting": True, "time_shift_type": kind}
    dynamic |= {"base_image_seq_len": 16, "max_image_seq_len": 64, "base_shift": 0.5, "max_shift": 1.15}
    folder = random_sd3(tmp_path / "model", shift=1.0, **dynamic)
    pipeline, denoiser = load_pipeline(folder), load_denoiser(folder)
    shifts = []
    for side in (8, 16):
        pipeline("a", num_inference_steps=5, height=side, width=side, output_type="latent")
        schedule = denoiser.schedule((side // 2, side // 2))
        assert isinstance(schedule, FlowSchedule)
        shift = schedule.shift
        sigma = torch.linspace(1, 1 / 1000, 5)
        expected = torch.cat([shift * sigma / (1 + (shift - 1) * sigma), torch.zeros(1)])
        torch.testing.assert_close(pipeline.scheduler.sigmas, expected, atol=1e-5, rtol=1e-5)
        shifts.append(shift)
    assert shifts[1] > shifts[0] * 1.5
    assert denoiser.schedule((8, 8)).sample_t(torch.tensor([0.5])) > denoiser.schedule((4, 4)).sample_t(
        torch.tensor([0.5])
    )
