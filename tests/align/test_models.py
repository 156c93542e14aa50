"""The requirements of `palate align` on a model, and the model that it leaves for the next stage."""

from __future__ import annotations

import json

import pytest
import torch
from PIL import Image
from tiny_pipelines import random_sdxl, random_stable_diffusion
from trained import run

from palate.align.batches import Batches
from palate.core.errors import InputError
from palate.generate.sampler import Sampler
from palate.models.load import load_pipeline


@pytest.mark.parametrize("train", ["full", "lora"])
def test_a_trained_model_keeps_its_safety_checker_and_works_in_the_next_stage(dpo_config, tmp_path, train):
    model = random_stable_diffusion(tmp_path / "model", safety_threshold=-2.0)
    folder = run(dpo_config(model=str(model), train=train, steps=1))
    pipeline = load_pipeline(folder)
    checker = load_pipeline(model).safety_checker.state_dict()
    assert all(torch.equal(value, checker[name]) for name, value in pipeline.safety_checker.state_dict().items())
    assert [each.blocked for each in Sampler(folder, device="cpu", steps=1).draw(["a"], [1])] == ["safety checker"]
    again = run(dpo_config(model=str(folder), out=tmp_path / "again", train="lora", steps=1))
    assert json.loads((again / "model" / "palate.json").read_text())["base"] == str(folder)


@pytest.mark.parametrize(
    "family, resolution, message",
    [
        ("eps", 20, "resolution 20 does not fit the model, whose sides are multiples of 8; give 16 or 24"),
        ("sd3", 24, "multiples of 8 of at most 16; give 16"),
    ],
)
def test_a_resolution_that_the_model_does_not_take_is_refused_before_anything_is_encoded(
    dpo_config, world, monkeypatch, family, resolution, message
):
    monkeypatch.setattr("palate.align.stage.learning_sets", lambda *_: pytest.fail("read the preferences"))
    config = dpo_config(model=str(world[family]), resolution=resolution)
    with pytest.raises(InputError, match=message):
        run(config)
    assert not config.out.exists()


@pytest.fixture(scope="module")
def sdxl(tmp_path_factory):
    return random_sdxl(tmp_path_factory.mktemp("sdxl") / "model")


def test_each_image_s_own_size_and_crop_are_trained_on(dpo_config, sdxl, tmp_path, monkeypatch):
    """Preferences of pictures that are not square; every batch names the original size and the crop of its images."""
    sizes = {"wide": (48, 16), "tall": (20, 40)}
    for name, size in sizes.items():
        Image.effect_noise(size, 50).convert("RGB").save(tmp_path / f"{name}.png")
    (tmp_path / "metadata.csv").write_text("prompt,preferred,rejected\na star,wide.png,tall.png\n")
    seen = []
    make = Batches.make

    def remember(self, *arguments):
        batch = make(self, *arguments)
        seen.append(batch.conditioning.dense("time_ids"))
        return batch

    monkeypatch.setattr(Batches, "make", remember)
    run(dpo_config(model=str(sdxl), preferences=str(tmp_path), out=tmp_path / "run", steps=1, batch=1))
    # Wide: 48 x 16 as it is, 16 pixels off on the left; tall: resized to 16 x 32, 8 off at the top.
    expected = torch.tensor([[16, 48, 0, 16, 16, 16], [40, 20, 8, 0, 16, 16]], dtype=torch.float32)
    assert len(seen) == 2 and all(torch.equal(each, expected) for each in seen)  # the reference's batch and the step's


def test_a_resolution_that_the_model_takes_is_trained_on(dpo_config):
    assert run(dpo_config(resolution=24, steps=1)).is_dir()
