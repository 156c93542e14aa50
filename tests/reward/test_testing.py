"""Scorers side by side on comparisons that they were not trained on."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from PIL import Image

from palate.align.methods import METHODS, method_config
from palate.cli.reward import _told
from palate.core.errors import InputError
from palate.core.runs import RunFolder
from palate.prefer.grades import write_graded
from palate.prefer.load import load_preferences
from palate.records.graded_image import GradedImage
from palate.records.parquet import write_sets
from palate.records.ranked import RankedSet
from palate.reward.config import RewardTestConfig
from palate.reward.stage import train_reward
from palate.reward.testing import prompts_of_scorer, test_rewards
from palate.score.reward import load_reward


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
    assert asked["accuracy"] == trained["accuracy"]
    assert found["scorers"]["image:brightness"]["accuracy"]["value"] == 1.0
    with Image.open(tmp_path / "test" / "calibration.png") as chart:
        assert chart.format == "PNG"


def test_a_threshold_chosen_on_the_tested_pairs_is_reported_as_such(rankings, feedback, tmp_path, capsys):
    """The held-out prompts of the training are those that the same feedback leaves to test on."""
    run = train_reward(rankings())
    assert load_reward(run).card.tie_chosen_on == "held out"
    found = judged(run, feedback, tmp_path)
    assert found["tie threshold chosen on"] == "these pairs"
    assert "(chosen on these pairs)" in _told(found)


def test_the_threshold_of_the_folds_is_not_chosen_on_tested_prompts(rankings, feedback, tmp_path):
    run = train_reward(rankings(folds=3))
    card, own = load_reward(run).card, summary(run)
    assert card.tie_chosen_on == "folds" and own["folds"]["tie threshold chosen on"] == "these pairs"
    assert own["held out"]["tie threshold"] == card.tie and own["held out"]["tie threshold chosen on"] == "folds"
    found = judged(run, feedback, tmp_path)
    assert found["tie threshold"] == card.tie
    assert found["tie threshold chosen on"] == "the folds of its training"
    everything = judged(run, feedback, tmp_path / "all", prompts="all")
    assert everything["tie threshold chosen on"] == "these pairs"  # the folds saw these


def test_a_threshold_of_held_out_prompts_is_used_for_other_prompts(rankings, feedback, tmp_path):
    run, sets = train_reward(rankings()), load_preferences(feedback["sets"])
    other = [dataclasses.replace(each, prompt=f"{each.prompt} at night") for each in sets]
    write_sets(other, tmp_path / "other.parquet")
    found = judged(run, {"sets": str(tmp_path / "other.parquet")}, tmp_path)
    assert found["tie threshold"] == load_reward(run).card.tie
    assert found["tie threshold chosen on"] == "prompts held out of its training"


def judged(run, feedback, root, **changes):
    """What `palate reward test` says of a reward."""
    spec = f"reward:{run}"
    config = RewardTestConfig(scorer=(spec,), preferences=feedback["sets"], out=root / "test", **changes)
    return summary(test_rewards(config))["scorers"][spec]


def test_all_prompts_are_kept_on_demand(rankings, feedback, tmp_path):
    spec = f"reward:{train_reward(rankings(steps=2))}"
    config = RewardTestConfig(scorer=(spec,), preferences=feedback["sets"], out=tmp_path / "test", prompts="all")
    assert summary(test_rewards(config))["sets"] == 36


def test_the_sign_of_a_scorer_whose_lower_scores_are_better_is_changed(feedback, tmp_path, monkeypatch):
    from palate.score.image import ImageScorer

    monkeypatch.setattr(ImageScorer, "higher_is_better", False)
    config = RewardTestConfig(scorer=("image:brightness",), preferences=feedback["sets"], out=tmp_path / "test")
    assert summary(test_rewards(config))["scorers"]["image:brightness"]["accuracy"]["value"] == 0.0


def test_a_reward_that_saw_every_prompt_cannot_be_judged_by_them(rankings, feedback, tmp_path):
    spec = f"reward:{train_reward(rankings(steps=2, validation=0.0))}"
    with pytest.raises(InputError, match="trained on every prompt"):
        test_rewards(RewardTestConfig(scorer=(spec,), preferences=feedback["sets"], out=tmp_path / "test"))
    assert not (tmp_path / "test").exists()


def test_the_model_folder_alone_lists_its_prompts(rankings):
    run = train_reward(rankings(steps=2))
    assert prompts_of_scorer(f"reward:{run}") == prompts_of_scorer(f"reward:{run / 'model'}") != frozenset()
    assert prompts_of_scorer("image:brightness") == frozenset()


@pytest.mark.parametrize(("changes", "message"), [({"scorer": ()}, "at least one"), ({"batch": 0}, "above zero")])
def test_bad_configurations_are_refused(changes, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        RewardTestConfig(**{"scorer": ("image:contrast",), "preferences": "x", "out": tmp_path, **changes})


@pytest.mark.parametrize("name", METHODS)
def test_the_prompts_of_an_aligned_model_come_from_its_method(name, aligned, tmp_path):
    """Rankings without ranks, ties and what lies in another file are the method's affair: it is asked, not copied."""
    run, prompts = aligned(name)
    assert prompts_of_scorer(f"implicit:{run}") == prompts_of_scorer(f"implicit:{run / 'model'}") == prompts


def test_an_unknown_method_of_an_aligned_model_is_named(aligned):
    run, _ = aligned("dpo")
    config = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(config.replace("stage: align dpo", "stage: align mine"))
    with pytest.raises(InputError, match="the method 'mine', which is not one of Palate's; give --prompts all"):
        prompts_of_scorer(f"implicit:{run}")


@pytest.fixture
def aligned(feedback, tmp_path):
    """The run folder of a method, as `palate align` opens it, and the prompts that it trains on."""
    sets = load_preferences(feedback["sets"])
    tied = [dataclasses.replace(each, prompt="only ties", ranks=(1,) * len(each.images), votes=()) for each in sets[:1]]
    write_sets([*sets, *tied, RankedSet("unranked", sets[0].images)], tmp_path / "sets.parquet")
    thumbs = [GradedImage(each.prompt, each.images[0], float(i % 2)) for i, each in enumerate(sets)]
    write_graded(thumbs, tmp_path / "thumbs.parquet")
    write_graded([GradedImage("real", sets[0].images[0], 1.0)], tmp_path / "real.parquet")

    def open_run(name):
        graded = name in ("kto", "reward_weighted")
        source = tmp_path / ("thumbs.parquet" if graded else "sets.parquet")
        real: dict[str, Any] = {"real": str(tmp_path / "real.parquet")} if name == "reward_weighted" else {}
        config = method_config(name)(model="tiny-sd", preferences=str(source), out=tmp_path / name, **real)
        prompts = {each.prompt for each in sets} | set(real)
        return RunFolder.open(config.out, f"align {name}", config).path, prompts

    return open_run
