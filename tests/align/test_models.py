"""What `palate align` asks of a model before it starts, and what it leaves behind for the next stage."""

from __future__ import annotations

import json

import pytest
import torch
from tiny_pipelines import random_stable_diffusion
from trained import run

from palate.core.errors import InputError
from palate.generate.sampler import Sampler
from palate.models.load import load_pipeline


@pytest.mark.parametrize("train", ["full", "lora"])
def test_a_trained_model_keeps_its_safety_checker_and_is_taken_by_the_next_stage(dpo_config, tmp_path, train):
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
    monkeypatch.setattr("palate.align.stage.load_preferences", lambda path: pytest.fail("read the preferences"))
    config = dpo_config(model=str(world[family]), resolution=resolution)
    with pytest.raises(InputError, match=message):
        run(config)
    assert not config.out.exists()


def test_a_resolution_that_the_model_takes_is_trained_on(dpo_config):
    assert run(dpo_config(resolution=24, steps=1)).is_dir()
