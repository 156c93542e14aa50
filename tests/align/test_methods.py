"""Every offline method in the trainer: it learns from its kind of feedback, and refuses other feedback."""

from __future__ import annotations

import dataclasses
import json

import pytest
from trained import assert_same_weights, lines, method_of, run

from palate.align.methods.cpo import CPOConfig
from palate.align.methods.dpo import DPOConfig
from palate.align.methods.kto import KTOConfig
from palate.align.methods.listwise import ListwiseConfig
from palate.align.methods.mapo import MaPOConfig
from palate.align.methods.reward_weighted import RewardWeightedConfig
from palate.core.errors import ConfigError, InputError
from palate.prefer.load import load_preferences
from palate.records.columns import Grades, Rankings
from palate.records.graded_image import GradedImage
from palate.records.images import StoredImage
from palate.records.ranked import RankedSet

A, B, C = (StoredImage(name.encode()) for name in "abc")
LEARNERS = [
    (DPOConfig, "pairs", {"beta": 200.0, "link": "ipo"}),
    (DPOConfig, "pairs", {"beta": 200.0, "link": "hinge", "smoothing": 0.1}),
    (CPOConfig, "pairs", {"beta": 200.0, "anchor": 1.0}),
    (MaPOConfig, "pairs", {}),
    (ListwiseConfig, "lists", {"beta": 200.0}),
    (ListwiseConfig, "lists", {"beta": 200.0, "reference": False, "anchor": 1.0}),
]


@pytest.mark.parametrize("kind, feedback, options", LEARNERS, ids=lambda each: getattr(each, "__name__", str(each)))
def test_each_preference_method_learns_to_prefer_bright_images(world, config_of, kind, feedback, options):
    settings = {"preferences": str(world[feedback]), "train": "full", "steps": 40, "lr": 2e-3, "warmup": 0.1}
    folder = run(config_of(kind, **settings, **options))
    outcome = json.loads((folder / "summary.json").read_text())["last_tenth"]
    assert outcome["loss"] < lines(folder)[0]["loss"] and outcome["accuracy"] > 0.8


def test_kto_starts_at_its_reference_point_and_trains(world, config_of):
    """That it learns is tested on tiny-sd (tests/learning): a random network's errors say nothing of an image alone."""
    metrics = lines(run(config_of(KTOConfig, preferences=str(world["thumbs"]), steps=2, log_every=1)))
    assert metrics[0]["loss"] == pytest.approx(0.5, abs=1e-3) and metrics[0]["accuracy"] == pytest.approx(0.5, abs=0.5)
    assert metrics[1]["gradient_norm"] > 0


def test_reward_weighted_denoises_the_rewarded_images_better_than_the_others(world, config_of, tmp_path):
    """One run with the rewards and one with their opposite: each is better on the images with its higher rewards."""
    settings = {"preferences": str(world["rewards"]), "train": "full", "steps": 40, "lr": 2e-3, "warmup": 0.1}
    folder = run(config_of(RewardWeightedConfig, **settings))
    first, last = lines(folder)[0], lines(folder)[-1]
    assert last["loss"] < 0.9 * first["loss"]
    with_real = config_of(RewardWeightedConfig, **settings, real=str(world["thumbs"]), out=tmp_path / "real")
    assert json.loads((run(with_real) / "summary.json").read_text())["examples"] == 32


def test_listwise_on_pairs_ends_with_the_weights_of_dpo(config_of, tmp_path):
    settings = {"train": "full", "steps": 4, "lr": 1e-3, "optimizer": "adafactor"}
    dpo = run(config_of(DPOConfig, **settings, out=tmp_path / "dpo"))
    listwise = run(config_of(ListwiseConfig, **settings, out=tmp_path / "listwise"))
    assert_same_weights(dpo, listwise, atol=1e-5, rtol=1e-4)  # another order of sums: float32 rounding


def test_the_reference_point_of_kto_is_that_of_the_whole_batch_for_any_split(world, config_of, tmp_path):
    settings = {"preferences": str(world["thumbs"]), "train": "full", "steps": 4, "batch": 8, "optimizer": "adafactor"}
    whole = run(config_of(KTOConfig, **settings, out=tmp_path / "whole"))
    split = run(config_of(KTOConfig, **settings, out=tmp_path / "split", micro_batch=2))
    assert_same_weights(whole, split, atol=2e-5, rtol=1e-4)


def test_a_smaller_set_is_filled_up_with_places_of_rank_zero():
    sets = [RankedSet("p", (A, B, C), (2, 1, 2)), RankedSet("q", (B, C), (2, 1)), RankedSet("r", (A, B), (1, 1))]
    examples = method_of(ListwiseConfig).examples(Rankings.of(sets))
    assert examples.view.shape == (2, 3) and examples.facts.tolist() == [[1, 2, 2], [1, 2, 0]]
    images = [[examples.images[image].data for image in examples.image[views]] for views in examples.view]
    assert images == [[b"b", b"a", b"c"], [b"c", b"b", b"c"]]


def test_both_kinds_of_thumbs_have_equal_total_weight():
    thumbs = [GradedImage("p", A, 1), GradedImage("p", B, 0), GradedImage("q", B, 0), GradedImage("q", C, 0)]
    examples = method_of(KTOConfig).examples(Grades.of(thumbs))
    assert examples.weight.tolist() == pytest.approx([2.0, 2 / 3, 2 / 3, 2 / 3])
    assert examples.keys == [f"{each.image.digest()} {each.prompt}" for each in thumbs]  # unpaired noise


def test_the_facts_of_reward_weighted_are_the_reward_and_whether_an_image_is_real(world):
    method = method_of(RewardWeightedConfig, real=str(world["thumbs"]))
    examples = method.examples(Grades.of([GradedImage("p", A, 0.3)]))
    assert examples.facts[0].tolist() == pytest.approx([0.3, 0.0]) and set(examples.facts[1:, 1].tolist()) == {1.0}
    assert len(examples) == 17 and examples.images[0].data == b"a"
    assert [examples.prompts[examples.prompt[view]] for view in examples.view[:3, 0]] == ["p", "0 stars", "1 stars"]


def test_methods_that_learn_from_rankings_refuse_sets_without_ranks(config_of):
    unranked = Rankings.of([RankedSet("p", (A, B))])
    for kind in (DPOConfig, CPOConfig, MaPOConfig, ListwiseConfig):
        method = config_of(kind).method()
        with pytest.raises(InputError, match=f"{method.name} learns from rankings, and none of these 1 sets is ranked"):
            method.examples(unranked)


@pytest.mark.parametrize("kind", [KTOConfig, RewardWeightedConfig])
def test_methods_that_learn_from_graded_images_refuse_pairs(world, config_of, kind):
    config = config_of(kind, preferences=str(world["pairs"]))
    with pytest.raises(InputError, match=r"graded images .* is without image, grade; .*`palate prefer grade`"):
        run(config)
    assert not config.out.exists()


def test_methods_that_learn_from_rankings_refuse_graded_images(world, config_of):
    with pytest.raises(InputError, match="lacks the columns images, ranks"):
        run(config_of(DPOConfig, preferences=str(world["thumbs"])))


def test_kto_refuses_other_grades_than_0_and_1_and_thumbs_of_one_kind(world, config_of):
    with pytest.raises(InputError, match=r"thumbs, which are grades of 0 and 1, and one grade is 0\.9; .*--threshold"):
        run(config_of(KTOConfig, preferences=str(world["rewards"])))
    with pytest.raises(InputError, match="kto needs thumbs up and thumbs down, and every grade is 1"):
        method_of(KTOConfig).examples(Grades.of([GradedImage("p", A, 1), GradedImage("p", B, 1)]))


def test_a_reward_outside_its_range_is_refused():
    with pytest.raises(InputError, match=r"the grade 1\.5 is outside \[0, 1\] .*`palate prefer grade`"):
        GradedImage("p", A, 1.5)


@pytest.mark.parametrize(
    "kind, changes, message",
    [
        (CPOConfig, {"beta": 0.0, "anchor": -1.0}, "beta must be above zero, not 0.0; anchor must be zero or more"),
        (DPOConfig, {"smoothing": 0.5}, "smoothing must be at least 0 and below 0.5"),
        (MaPOConfig, {"beta": -1.0}, "beta must be above zero"),
        (KTOConfig, {"beta": 0.0}, "beta must be above zero"),
        (RewardWeightedConfig, {"beta": -0.1}, "beta must be zero or more"),
    ],
)
def test_impossible_settings_are_refused(config_of, kind, changes, message):
    with pytest.raises((ConfigError, ValueError), match=message):
        config_of(kind, **changes)


def test_every_method_cites_the_source_of_its_defaults():
    for kind in (DPOConfig, CPOConfig, ListwiseConfig, MaPOConfig, KTOConfig, RewardWeightedConfig):
        assert {"beta"} <= {field.name for field in dataclasses.fields(kind)}


def test_load_preferences_returns_the_sets_of_the_fixture(world):
    assert [len(each.images) for each in load_preferences(world["lists"])] == [3, 2] * 4
