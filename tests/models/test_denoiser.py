import pytest
import torch
from PIL import Image
from tiny_pipelines import random_sd3

from palate.diffusion.parametrization import Parametrization
from palate.diffusion.schedule import FlowSchedule
from palate.models.conditioning import Conditioning
from palate.models.families import sizes_of
from palate.models.load import load_denoiser, load_pipeline, resolve

# diffusers' Euler scheduler hands torch tensors to numpy in a way that numpy 2 frowns on.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
PROMPTS = ["two red circles", "a blue star"]
FAMILIES = ["eps", "v", "sdxl", "sd3"]


@pytest.mark.parametrize("guidance", [1.0, 5.0])
@pytest.mark.parametrize("family", FAMILIES)
def test_predict_reproduces_the_pipeline_s_denoising_steps(models, family, guidance):
    pipeline, denoiser = load_pipeline(models[family]), load_denoiser(models[family])
    start = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    latents = [start]

    def remember(pipe, index, timestep, tensors):
        latents.append(tensors["latents"])
        return {}

    pipeline(
        PROMPTS,
        num_inference_steps=4,
        guidance_scale=guidance,
        latents=start,
        output_type="latent",
        callback_on_step_end=remember,
    )
    latents[0] = start * getattr(pipeline.scheduler, "init_noise_sigma", 1.0)
    conditioning, negative = denoiser.encode_prompt(PROMPTS), denoiser.encode_prompt([None, None])
    scheduler = denoiser.pipeline.scheduler
    scheduler.set_timesteps(4)
    for timestep, x_t, following in zip(scheduler.timesteps, latents, latents[1:]):
        t = (timestep / 1000 if family == "sd3" else timestep).expand(2)
        scaled = x_t if family == "sd3" else scheduler.scale_model_input(x_t, timestep)
        with torch.no_grad():
            prediction = denoiser.predict(scaled, t, conditioning)
            if guidance > 1:  # Ho & Salimans 2022 (arXiv:2207.12598), in the form of Imagen's equation 2
                away = denoiser.predict(scaled, t, negative)
                prediction = away + guidance * (prediction - away)
        step = scheduler.step(prediction, timestep, x_t).prev_sample
        torch.testing.assert_close(step, following, atol=1e-5, rtol=1e-5)
    assert len(latents) == 5


@pytest.mark.parametrize("family", FAMILIES)
def test_the_schedule_and_parametrization_denoise_in_one_step_when_the_prediction_is_perfect(models, family):
    """One DDIM or Euler step to the clean end, fed with our target, lands on x_0: adapters name the right target."""
    denoiser = load_denoiser(models[family])
    x_0, eps = torch.randn(2, 1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    scheduler = denoiser.pipeline.scheduler
    if family == "sd3":
        scheduler.set_timesteps(1)
        timestep, t = scheduler.timesteps[0], scheduler.sigmas[:1]
    else:
        scheduler.set_timesteps(1000)
        timestep = scheduler.timesteps[500]
        t = timestep.view(1).long()
    schedule = denoiser.schedule((8, 8))
    x_t = schedule.add_noise(x_0, eps, t)
    if family == "sdxl":  # Euler's steps are on x_0 + sigma eps
        x_t = x_t / schedule.signal(t).view(1, 1, 1, 1)
    step = scheduler.step(denoiser.parametrization.target(schedule, x_0, eps, t), timestep, x_t)
    found = step.prev_sample if family == "sd3" else step.pred_original_sample
    torch.testing.assert_close(found, x_0, atol=1e-4, rtol=1e-4)


def test_parametrization_is_read_from_the_model(models):
    found = [load_denoiser(models[family], without=("vae",)).parametrization for family in FAMILIES]
    assert found == [Parametrization.EPSILON, Parametrization.V, Parametrization.EPSILON, Parametrization.VELOCITY]


@pytest.mark.parametrize("family", FAMILIES)
def test_encode_prompt_embeds_as_the_pipeline_does_and_each_prompt_apart(models, family):
    denoiser = load_denoiser(models[family])
    both = denoiser.encode_prompt(PROMPTS)
    again = Conditioning.cat([denoiser.encode_prompt([prompt]) for prompt in PROMPTS])
    for name in both.tensors:
        torch.testing.assert_close(both.dense(name), again.dense(name), atol=1e-5, rtol=1e-5)
    assert ("pooled" in both.tensors) == (family in ("sdxl", "sd3"))


@pytest.mark.parametrize("family", FAMILIES)
def test_encode_and_decode_scale_latents_as_the_pipeline_does(models, family):
    pipeline, denoiser = load_pipeline(models[family]), load_denoiser(models[family])
    images = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    latents = denoiser.encode(images)
    config = pipeline.vae.config
    with torch.no_grad():
        mode = pipeline.vae.encode(images * 2 - 1).latent_dist.mode()
    torch.testing.assert_close(latents, (mode - (config.shift_factor or 0)) * config.scaling_factor)
    timesteps = {"num_inference_steps": 1, "output_type": "pt", "guidance_scale": 1.0}
    shown = pipeline(PROMPTS, latents=latents, **timesteps, callback_on_step_end=lambda *_: {"latents": latents})
    torch.testing.assert_close(denoiser.decode(latents), shown.images, atol=1e-5, rtol=1e-5)


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
