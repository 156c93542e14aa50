"""The trainer against a plain loop written from the paper: same data, same draws, no cache, a reference network."""

import copy

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import load_file
from tiny_pipelines import RESOLUTION, random_stable_diffusion

from palate.align.methods.dpo import DPOConfig
from palate.align.plan import TrainingPlan
from palate.align.stage import align
from palate.diffusion.draws import Draws
from palate.prefer.load import load_rankings
from palate.score.base import to_size

STEPS, BATCH, BETA, RATE = 5, 4, 300.0, 1e-3


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    root = tmp_path_factory.mktemp("parity")
    model = random_stable_diffusion(root / "model", prediction_type="v_prediction")
    (root / "pairs").mkdir()
    rows = ["prompt,preferred,rejected"]
    for number in range(6):
        noise = np.random.default_rng(number).integers(0, 256, (2, RESOLUTION, RESOLUTION, 3), dtype=np.uint8)
        for name, pixels in zip("wl", noise):
            save(pixels, root / "pairs" / f"{name}{number}.png")
        rows.append(f"{number} stars,w{number}.png,l{number}.png")
    (root / "pairs" / "metadata.csv").write_text("\n".join(rows) + "\n")
    return DPOConfig(
        model=str(model),
        preferences=str(root / "pairs"),
        out=root / "run",
        cache=root / "cache",
        device="cpu",
        precision="fp32",
        train="full",
        steps=STEPS,
        batch=BATCH,
        beta=BETA,
        lr=RATE,
        warmup=0.0,
        log_every=1,
        prompt_dropout=0.5,
    )


def save(pixels, path):
    from PIL import Image

    Image.fromarray(pixels).save(path)


def plain_loop(config):
    """Algorithm of Wallace et al. 2023, section 4: everything is computed in the step, one pair after the other."""
    pipeline = StableDiffusionPipeline.from_pretrained(config.model)
    policy, reference, scheduler = pipeline.unet, copy.deepcopy(pipeline.unet), pipeline.scheduler
    optimizer = torch.optim.AdamW(policy.parameters(), lr=RATE, weight_decay=1e-2)
    examples = config.method().examples(load_rankings(config.preferences))
    draws = Draws(examples.keys, config.seed, config.prompt_dropout)
    plan = TrainingPlan(draws, examples.key[examples.view[:, 0]], BATCH, config.draws)
    losses = []
    for step in range(STEPS):
        total = 0.0
        for example, draw in zip(*plan.step(step)):
            views = examples.view[example]
            key, draw = examples.key[views[:1]], np.array([draw])
            prompt = "" if draws.dropped(key, draw)[0] else examples.prompts[examples.prompt[views[0]]]
            told = pipeline.encode_prompt(prompt, "cpu", 1, False)[0]
            t = torch.tensor([int(draws.u(key, draw)[0] * 1000)])
            eps = draws.noise(key, draw, (4, 8, 8))
            difference = []
            for view in views:
                image = to_size([examples.images[examples.image[view]].open()], RESOLUTION, RESOLUTION) * 2 - 1
                with torch.no_grad():
                    x_0 = pipeline.vae.encode(image).latent_dist.mode() * pipeline.vae.config.scaling_factor
                    x_t, target = scheduler.add_noise(x_0, eps, t), scheduler.get_velocity(x_0, eps, t)
                    error_ref = (reference(x_t, t, told).sample - target).pow(2).mean()
                difference.append((policy(x_t, t, told).sample - target).pow(2).mean() - error_ref)
            inside = -0.5 * BETA * (difference[0] - difference[1])
            loss = -torch.nn.functional.logsigmoid(inside) / BATCH
            loss.backward()
            total += loss.item()
        torch.nn.utils.clip_grad_norm_(policy.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(total)
    return policy, losses


def test_the_cached_trainer_takes_the_steps_of_a_plain_diffusion_dpo_loop(config):
    import json

    folder = align(config, config.method())
    policy, losses = plain_loop(config)
    ours = [json.loads(line)["loss"] for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert ours == pytest.approx(losses, rel=2e-3)
    found = load_file(folder / "model" / "unet" / "diffusion_pytorch_model.safetensors")
    for name, value in policy.state_dict().items():
        # AdamW divides by the gradient's size: where that is rounding alone, a step of up to the learning rate differs.
        assert (found[name] - value).abs().mean() < 0.05 * RATE, name
