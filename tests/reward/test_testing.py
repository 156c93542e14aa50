"""Scorers side by side on comparisons that they were not trained on."""

from __future__ import annotations

import json

import pytest
from PIL import Image

from palate.core.errors import InputError
from palate.reward.stage import train_reward
from palate.reward.testing import RewardTestConfig, test_rewards, trained_prompts


def summary(run):
    return json.loads((run / "summary.json").read_text())


def test_prompts_that_a_reward_was_trained_on_are_left_out(rankings, feedback, tmp_path):
    run = train_reward(rankings())
    spec = f"reward:{run}"
    config = RewardTestConfig(scorer=(spec, "image:brightness"), preferences=feedback["sets"], out=tmp_path / "test")
    found = summary(test_rewards(config))
    assert (found["sets"], found["sets of prompts trained on"]) == (9, 27)
    trained = summary(run)["held out"]
    asked = found["scorers"][spec]
    assert asked["accuracy"] == trained["accuracy"] and asked["tie threshold"] == trained["tie threshold"]
    assert found["scorers"]["image:brightness"]["accuracy"]["value"] == 1.0
    with Image.open(tmp_path / "test" / "calibration.png") as chart:
        assert chart.format == "PNG"


def test_all_prompts_are_kept_on_demand(rankings, feedback, tmp_path):
    spec = f"reward:{train_reward(rankings(steps=2))}"
    config = RewardTestConfig(scorer=(spec,), preferences=feedback["sets"], out=tmp_path / "test", prompts="all")
    assert summary(test_rewards(config))["sets"] == 36


def test_a_scorer_of_which_less_is_better_is_turned(feedback, tmp_path, monkeypatch):
    from palate.score.image import ImageScorer

    monkeypatch.setattr(ImageScorer, "higher_is_better", False)
    config = RewardTestConfig(scorer=("image:brightness",), preferences=feedback["sets"], out=tmp_path / "test")
    assert summary(test_rewards(config))["scorers"]["image:brightness"]["accuracy"]["value"] == 0.0


def test_a_reward_that_saw_every_prompt_cannot_be_judged_by_them(rankings, feedback, tmp_path):
    spec = f"reward:{train_reward(rankings(steps=2, validation=0.0))}"
    with pytest.raises(InputError, match="trained on every prompt"):
        test_rewards(RewardTestConfig(scorer=(spec,), preferences=feedback["sets"], out=tmp_path / "test"))
    assert not (tmp_path / "test").exists()


def test_the_model_folder_alone_knows_its_prompts(rankings):
    run = train_reward(rankings(steps=2))
    assert trained_prompts(f"reward:{run}") == trained_prompts(f"reward:{run / 'model'}") != frozenset()
    assert trained_prompts("image:brightness") == frozenset()


@pytest.mark.parametrize(("changes", "message"), [({"scorer": ()}, "at least one"), ({"batch": 0}, "above zero")])
def test_bad_configurations_are_refused(changes, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        RewardTestConfig(**{"scorer": ("image:contrast",), "preferences": "x", "out": tmp_path, **changes})
