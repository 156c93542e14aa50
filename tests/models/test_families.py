"""What holds for the adapter of every family, against its own pipeline on a small twin with random weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DPMSolverMultistepScheduler, UniPCMultistepScheduler
from twins import TWINS
from twins.twin import Twin

from palate.diffusion.schedule import VarianceSchedule
from palate.generate.sampler import Sampler
from palate.models.conditioning import Conditioning, Ragged
from palate.models.families import FAMILIES, load_adapter, missing_packages
from palate.models.load import load_denoiser, load_pipeline, resolve
from palate.models.supported import supported_families

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:`FluxPosEmbed` is deprecated:FutureWarning"),  # by diffusers' own Chroma
    # Kolors' text encoder of diffusers uses torch.jit.
    pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning"),
]
PROMPTS = ["two red circles", "a blue star on a green background"]
STEPS = 3
EVERY_WAY = [
    pytest.param(name, way, id=f"{name}-{way}") for name, twin in TWINS.items() for way in range(len(twin.guidance))
]


@pytest.fixture(scope="module")
def pipelines(twins) -> Callable[[str], Any]:
    """The pipeline of a twin, loaded once: tests leave it as it was but for the state of its scheduler."""
    return lru_cache(maxsize=None)(lambda name: load_pipeline(twins[name]))


@pytest.fixture(scope="module")
def denoisers(twins) -> Callable[[str], Any]:
    """The adapter of a twin, loaded once: tests leave it as it was."""
    return lru_cache(maxsize=None)(lambda name: load_denoiser(twins[name]))


@dataclass(frozen=True)
class Step:
    """A step of a scheduler: what the network predicted, guidance included, from which latents at which timestep."""

    prediction: torch.Tensor
    x_t: torch.Tensor
    timestep: torch.Tensor


@contextmanager
def steps_watched(pipeline: Any) -> Iterator[list[Step]]:
    """Within it, each step of the scheduler is added to the list, with the latents as the network took them."""
    taken, step = [], pipeline.scheduler.step
    scaled = getattr(pipeline.scheduler, "scale_model_input", lambda sample, timestep: sample)

    def watched(prediction: torch.Tensor, timestep: Any, sample: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        taken.append(Step(prediction, scaled(sample, timestep), timestep))
        return step(prediction, timestep, sample, *args, **kwargs)

    pipeline.scheduler.step = watched
    try:
        yield taken
    finally:
        del pipeline.scheduler.step


def draw(twin: Twin, pipeline: Any, prompts: list[str], way: int, size: tuple[int, int], **more: Any) -> Any:
    """A run of a family's own pipeline, each picture from its own seed."""
    seeds = [torch.Generator().manual_seed(number) for number in range(len(prompts))]
    call: dict[str, Any] = {**twin.options, **twin.guidance[way][0], "num_inference_steps": STEPS, **more}
    return pipeline(prompt=[*prompts], **twin.frame(*size), generator=seeds, **call).images


@pytest.mark.parametrize("name, way", EVERY_WAY)
def test_the_adapter_predicts_what_the_pipeline_does_in_each_of_its_steps_guidance_included(
    pipelines, denoisers, name, way
):
    twin = TWINS[name]
    pipeline, denoiser = pipelines(name), denoisers(name)
    with steps_watched(pipeline) as taken:
        draw(twin, pipeline, list(twin.prompts), way, twin.size, output_type="latent")
    scale = twin.guidance[way][1]
    positive, negative = denoiser.encode_prompt(twin.prompts), denoiser.encode_prompt([None, None])
    embedded = Conditioning({"guidance": torch.full((2,), scale)})
    assert len(taken) == STEPS
    integers = isinstance(denoiser.schedule((8, 8)), VarianceSchedule)
    for step, sigma in zip(taken, [step.timestep for step in taken] if integers else pipeline.scheduler.sigmas):
        theirs, x_t = (twin.latents(pipeline, each, *twin.size) for each in (step.prediction, step.x_t))
        t = sigma.expand(2)
        with torch.no_grad():
            ours = denoiser.predict(x_t, t, positive.merged(embedded))
            if denoiser.negates(scale):
                ours = denoiser.guided(ours, denoiser.predict(x_t, t, negative.merged(embedded)), scale)
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", TWINS)
def test_a_prediction_does_not_depend_on_the_length_of_the_other_prompts(denoisers, name):
    twin, denoiser = TWINS[name], denoisers(name)
    x_t = denoiser.encode(torch.rand(2, 3, *twin.size, generator=torch.Generator().manual_seed(0)))
    t = denoiser.schedule((x_t.shape[-2], x_t.shape[-1])).sample_t(torch.tensor([0.3, 0.8]))
    conditioning = denoiser.encode_prompt(PROMPTS)
    with torch.no_grad():
        both = denoiser.predict(x_t, t, conditioning)
        alone = [denoiser.predict(x_t[[i]], t[[i]], conditioning[[i]]) for i in range(2)]
    torch.testing.assert_close(both, torch.cat(alone), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", TWINS)
def test_gradient_checkpointing_changes_no_gradient(twins, name):
    """Diffusers calls the blocks of a network in another way with it."""
    denoiser: Any = load_denoiser(twins[name])
    x_t = denoiser.encode(torch.rand(2, 3, *TWINS[name].size, generator=torch.Generator().manual_seed(0)))
    t = denoiser.schedule((x_t.shape[-2], x_t.shape[-1])).sample_t(torch.tensor([0.3, 0.8]))
    conditioning, gradients = denoiser.encode_prompt(TWINS[name].prompts), []
    for checkpointing in (False, True):
        if checkpointing:
            denoiser.network.enable_gradient_checkpointing()
        denoiser.network.train()
        denoiser.network.zero_grad()
        denoiser.predict(x_t, t, conditioning).square().mean().backward()
        gradients.append({key: each.grad for key, each in denoiser.network.named_parameters() if each.grad is not None})
    assert gradients[0] and gradients[0].keys() == gradients[1].keys()
    for key, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][key], gradient, atol=1e-5, rtol=1e-4, msg=key)


@pytest.mark.parametrize("name", TWINS)
def test_one_step_of_the_scheduler_from_a_perfect_prediction_lands_on_the_picture(denoisers, name):
    """Fed with our target: the adapter says rightly what the network is to predict."""
    denoiser = denoisers(name)
    scheduler: Any = deepcopy(denoiser.pipeline.scheduler)
    shape = denoiser.encode(torch.zeros(1, 3, TWINS[name].square, TWINS[name].square)).shape
    x_0, eps = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0))
    schedule = denoiser.schedule((shape[-2], shape[-1]))
    if isinstance(scheduler, (DPMSolverMultistepScheduler, UniPCMultistepScheduler)):
        scheduler.set_timesteps(2)  # the last step, which ends at the image, is one of first order
        timestep, factor = scheduler.timesteps[1], torch.ones(1)
        t = timestep.view(1) if isinstance(schedule, VarianceSchedule) else scheduler.sigmas[1:2]
    elif isinstance(schedule, VarianceSchedule):
        scheduler.set_timesteps(1000)
        timestep = scheduler.timesteps[500]
        t = timestep.view(1).long()
        # The latents of a scheduler with sigmas are x_0 + sigma eps.
        factor = 1 / schedule.signal(t) if hasattr(scheduler, "sigmas") else torch.ones(1)
    else:
        scheduler.set_timesteps(sigmas=[0.7], **({"mu": 0.0} if scheduler.config.use_dynamic_shifting else {}))
        timestep, t, factor = scheduler.timesteps[0], scheduler.sigmas[:1], torch.ones(1)
    x_t = schedule.add_noise(x_0, eps, t) * factor.view(-1, 1, 1, 1)
    step: Any = scheduler.step(denoiser.parametrization.target(schedule, x_0, eps, t), timestep, x_t)
    found = step.pred_original_sample if "pred_original_sample" in step else step.prev_sample
    torch.testing.assert_close(found, x_0, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", TWINS)
def test_latents_are_encoded_and_decoded_at_the_scale_of_the_pipeline(pipelines, denoisers, name, monkeypatch):
    """The pipeline's last step is replaced by our latents of a picture: what it then shows is what we decode."""
    twin = TWINS[name]
    pipeline, denoiser = pipelines(name), denoisers(name)
    height, width = twin.size
    pictures = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(0))
    latents = denoiser.encode(pictures)
    assert latents.dtype == torch.float32 and latents.shape[0] == 1
    with steps_watched(pipeline) as taken:
        draw(twin, pipeline, PROMPTS[:1], 0, twin.size, output_type="latent")
    assert twin.latents(pipeline, taken[0].x_t, height, width).shape == latents.shape
    with monkeypatch.context() as patch:
        packed = _packed(twin, pipeline, latents, taken[0].x_t)
        patch.setattr(pipeline.scheduler, "step", lambda *args, **kwargs: (packed,))
        shown = draw(twin, pipeline, PROMPTS[:1], 0, twin.size, output_type="pt")
    torch.testing.assert_close(denoiser.decode(latents), shown, atol=1e-4, rtol=1e-4)


def _packed(twin: Twin, pipeline: Any, latents: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Latents in the form of the pipeline's: a linear map of them, found by inverting that of the twin."""
    count = like.numel()
    places = torch.arange(count, dtype=torch.float64).view(like.shape)
    order = twin.latents(pipeline, places, *twin.size).flatten().long()
    packed = torch.empty(count)
    packed[order] = latents.flatten().float()
    return packed.view(like.shape)


@pytest.mark.parametrize("name", TWINS)
def test_a_prompt_is_encoded_as_the_pipeline_does_whatever_it_is_encoded_with(twins, name):
    denoiser = load_denoiser(twins[name], without=("vae", resolve(twins[name]).network))
    both = denoiser.encode_prompt([*PROMPTS, None])
    alone = Conditioning.cat([denoiser.encode_prompt([prompt]) for prompt in [*PROMPTS, None]])
    assert len(both) == 3
    for key, value in both.tensors.items():
        for row, other in zip(rows_of(value), rows_of(alone.tensors[key])):
            torch.testing.assert_close(row, other, atol=1e-5, rtol=1e-4)


def rows_of(value: torch.Tensor | Ragged) -> list[torch.Tensor]:
    return value.rows() if isinstance(value, Ragged) else list(value)


@pytest.mark.parametrize("name", [name for name, twin in TWINS.items() if twin.draws])
def test_a_picture_is_the_plain_pipeline_s_for_the_same_prompt_and_seed(twins, pipelines, name):
    twin = TWINS[name]
    sampler = Sampler(
        twins[name], device="cpu", steps=STEPS, guidance=twin.guidance[-1][1], height=twin.size[0], width=twin.size[1]
    )
    ours = np.stack([np.asarray(image) for image in sampler.sample(twin.prompts, [0, 1])])
    theirs = np.stack(draw(twin, pipelines(name), list(twin.prompts), len(twin.guidance) - 1, twin.size))
    assert np.abs(ours.astype(int) - theirs.astype(int)).max() <= 1


@pytest.mark.parametrize("name", TWINS)
def test_every_family_has_a_title_of_its_own_in_the_list_of_models(twins, name):
    families = {each.pipeline: each.name for each in supported_families()}
    mine = resolve(twins[name]).family
    assert families[mine] not in [title for pipeline, title in families.items() if pipeline != mine]


def test_every_family_has_a_twin(twins):
    missing = {name for name in FAMILIES if missing_packages(load_adapter(name))}
    installed = [name for name, twin in TWINS.items() if all(map(find_spec, twin.needs))]
    assert {resolve(twins[name]).family for name in installed} >= set(FAMILIES) - missing
