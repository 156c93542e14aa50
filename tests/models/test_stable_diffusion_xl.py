"""The properties of SDXL: zeros for no prompt, and each image's own size and crop."""

from __future__ import annotations

import pytest
import torch
from tiny_pipelines import random_sdxl, random_sdxl_refiner

from palate.core.errors import InputError
from palate.generate.sampler import Sampler
from palate.models.frames import Frames
from palate.models.load import load_denoiser, load_pipeline, resolve

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def test_no_prompt_is_zeros_and_the_empty_prompt_is_not(models, tmp_path):
    denoiser = load_denoiser(models["sdxl"])
    found = denoiser.encode_prompt(["a star", None, ""])
    for name in ("embeddings", "pooled"):
        text, absent, empty = found.dense(name)
        assert not absent.any() and empty.abs().max() > 0.1 and text.abs().max() > 0.1
    encoded = load_denoiser(random_sdxl(tmp_path / "encoded", force_zeros=False)).encode_prompt([None, ""])
    assert torch.equal(encoded.dense("pooled")[0], encoded.dense("pooled")[1])


@pytest.mark.parametrize("force_zeros", [True, False])
def test_no_prompt_is_embedded_like_the_pipeline_s_unconditional_prompt(tmp_path, force_zeros):
    folder = random_sdxl(tmp_path / "model", force_zeros=force_zeros)
    found = load_denoiser(folder).encode_prompt([None])
    _, embeddings, _, pooled = load_pipeline(folder).encode_prompt("a star", do_classifier_free_guidance=True)
    torch.testing.assert_close(found.dense("embeddings"), embeddings)
    torch.testing.assert_close(found.dense("pooled"), pooled)


def test_each_image_s_size_and_crop_reach_the_network_as_the_pipeline_gives_them(models):
    """Two pictures of other sizes in one batch, each against a run of the pipeline for it alone."""
    pipeline, denoiser = load_pipeline(models["sdxl"]), load_denoiser(models["sdxl"])
    frames = Frames.crops([(1500, 1000), (640, 700)], 16, 16)
    start = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    conditioning = denoiser.encode_prompt(["a star", "a star"]).merged(denoiser.image_conditioning(frames))
    scheduler = denoiser.pipeline.scheduler
    scheduler.set_timesteps(1)
    timestep, x_t = scheduler.timesteps[0], start * scheduler.init_noise_sigma
    scaled = scheduler.scale_model_input(x_t, timestep)
    with torch.no_grad():
        ours = denoiser.predict(scaled.repeat(2, 1, 1, 1), timestep.repeat(2), conditioning)
    assert (ours[0] - ours[1]).abs().max() > 1e-3
    for row, prediction in zip(frames.rows.int().tolist(), ours):
        theirs = pipeline(
            "a star",
            num_inference_steps=1,
            guidance_scale=1.0,
            latents=start,
            output_type="latent",
            original_size=tuple(row[:2]),
            crops_coords_top_left=tuple(row[2:4]),
            target_size=tuple(row[4:]),
        ).images
        scheduler.set_timesteps(1)
        step = scheduler.step(prediction[None], timestep, x_t).prev_sample
        torch.testing.assert_close(step, theirs, atol=1e-5, rtol=1e-5)


def test_without_a_frame_the_image_is_neither_cropped_nor_resized(models):
    denoiser = load_denoiser(models["sdxl"])
    x_t, t = torch.randn(2, 4, 8, 12, generator=torch.Generator().manual_seed(0)), torch.tensor([10, 700])
    conditioning = denoiser.encode_prompt(["a star", "two circles"])
    with torch.no_grad():
        assumed = denoiser.predict(x_t, t, conditioning)
        said = denoiser.predict(x_t, t, conditioning.merged(denoiser.image_conditioning(Frames.whole(2, 16, 24))))
        other = denoiser.predict(x_t, t, conditioning.merged(denoiser.image_conditioning(Frames.whole(2, 16, 80))))
    assert torch.equal(assumed, said) and not torch.allclose(assumed, other)


def test_pipelines_that_encode_no_prompt_differently_do_not_share_cached_embeddings(tmp_path):
    zeros, encoded = (resolve(random_sdxl(tmp_path / str(force), force_zeros=force)) for force in (True, False))
    assert zeros.fingerprint("unet") == encoded.fingerprint("unet")
    assert zeros.fingerprint(*zeros.readers()) != encoded.fingerprint(*encoded.readers())


def test_the_refiner_is_trained_on_the_first_200_timesteps_as_its_authors_did(twins):
    schedule = load_denoiser(twins["sdxl-refiner"]).schedule((8, 8))
    t = schedule.sample_t((torch.arange(400, dtype=torch.float64) + 0.5) / 400)
    assert torch.equal(t.bincount(), torch.full((200,), 2))


def test_the_refiner_takes_a_high_score_for_a_prompt_and_a_low_one_for_none_after_the_crop(twins):
    denoiser = load_denoiser(twins["sdxl-refiner"])
    frames = denoiser.image_conditioning(Frames.crops([(1500, 1000), (640, 700)], 16, 16))
    found = denoiser.time_ids(denoiser.encode_prompt(["a star", None]).merged(frames))
    assert found.tolist() == [[1000, 1500, 0, 4, 6.0], [700, 640, 1, 0, 2.5]]


def test_a_base_model_saved_as_the_refiner_s_pipeline_is_trained_as_the_base(tmp_path):
    denoiser = load_denoiser(random_sdxl_refiner(tmp_path, scored=False))
    assert denoiser.schedule((8, 8)).sample_t(torch.tensor([0.9995])).item() == 999
    assert "score" not in denoiser.encode_prompt(["a star"]).tensors
    with torch.no_grad():
        denoiser.predict(torch.zeros(1, 4, 8, 8), torch.tensor([500]), denoiser.encode_prompt(["a star"]))


def test_the_refiner_is_not_asked_for_a_picture_of_a_prompt(twins):
    with pytest.raises(InputError, match="Stable Diffusion XL refiner.* draws none from a prompt"):
        Sampler(twins["sdxl-refiner"], device="cpu")
