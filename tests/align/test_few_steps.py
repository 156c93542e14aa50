"""Training at the timesteps of a model that draws in a few steps."""

import json

import pytest
import torch
from tiny_pipelines import random_sdxl
from trained import lines, run

from palate.align.batches import Batches
from palate.core.errors import ConfigError, InputError
from palate.score.implicit import ImplicitScorer

TURBO = (249, 499, 749, 999)


@pytest.fixture(scope="module")
def turbo(tmp_path_factory):
    return str(random_sdxl(tmp_path_factory.mktemp("turbo") / "model", spacing="trailing"))


@pytest.fixture
def visited(monkeypatch):
    """Collects the timesteps of every batch."""
    seen, make = set(), Batches.make

    def remember(self, *arguments):
        batch = make(self, *arguments)
        seen.update(batch.t.tolist())
        return batch

    monkeypatch.setattr(Batches, "make", remember)
    return seen


def test_a_model_of_few_steps_is_trained_at_its_timesteps_alone_and_a_run_on_top_of_it_too(
    dpo_config, turbo, tmp_path, visited, capsys
):
    first = run(dpo_config(model=turbo, timesteps=TURBO, log_every=1))
    assert visited == set(TURBO) and abs(lines(first)[0]["margin"]) < 1e-3
    said = capsys.readouterr().err
    assert "only the timesteps 249, 499, 749, 999 are trained" in said and "999 is pure noise" in said
    assert json.loads((first / "model" / "palate.json").read_text())["timesteps"] == list(TURBO)
    visited.clear()
    run(dpo_config(model=str(first), out=tmp_path / "again"))
    assert visited == set(TURBO)


def test_the_errors_of_the_base_at_other_timesteps_are_not_taken_for_these(dpo_config, turbo, tmp_path):
    run(dpo_config(model=turbo, out=tmp_path / "all", log_every=1))
    few = run(dpo_config(model=turbo, out=tmp_path / "few", timesteps=TURBO[:3], log_every=1))
    assert abs(lines(few)[0]["margin"]) < 1e-3


def test_the_implicit_reward_is_measured_at_the_timesteps_that_were_trained(dpo_config, turbo):
    folder = run(dpo_config(model=turbo, timesteps=TURBO[:2], steps=1))
    scorer = ImplicitScorer(str(folder), device="cpu")
    for denoiser in (scorer._aligned, scorer._base):
        t = denoiser.schedule((8, 8)).sample_t(torch.tensor([0.1, 0.9]))
        assert t.tolist() == [249, 499]


def test_timesteps_of_a_model_without_them_are_refused_before_anything_is_read(dpo_config, world):
    with pytest.raises(InputError, match="not trained at timesteps"):
        run(dpo_config(model=str(world["sd3"]), timesteps=TURBO))
    with pytest.raises((ConfigError, ValueError), match="adversarial"):
        dpo_config(timesteps=TURBO, adversarial=0.1)
