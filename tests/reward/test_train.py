"""Training a reward: it learns, resumes bit for bit, and is a scorer afterwards."""

from __future__ import annotations

import dataclasses
import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from palate.core.errors import InputError
from palate.prefer.load import load_preferences
from palate.records.images import StoredImage
from palate.records.parquet import write_sets
from palate.reward import stage
from palate.reward.stage import PROMPTS, train_reward
from palate.reward.trainer import RewardTrainer
from palate.score.load import load_scorer
from palate.score.reward import load_reward

WAYS = [
    {"train": "head"},
    {"train": "head", "head": "linear"},
    {"train": "head", "form": "lists", "steps": 60},
    {"train": "head", "votes": False},
    {"train": "lora"},
    {"train": "full", "head": "cosine"},
    {"train": "full"},
    {"backbone": "statistics"},
    {"backbone": "statistics", "head": "mlp"},
]


def summary(run):
    return json.loads((run / "summary.json").read_text())


def weights(run):
    return {
        f"{file.parent.name}/{file.name}/{name}": value
        for file in sorted((run / "model").rglob("*.safetensors"))
        for name, value in load_file(file).items()
    }


def assert_same(first, second):
    first, second = weights(first), weights(second)
    assert first.keys() == second.keys() and len(first) > 0
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("changes", WAYS, ids=lambda changes: "-".join(map(str, changes.values())))
def test_a_reward_ranks_images_of_prompts_that_it_was_not_trained_on(rankings, changes):
    run = train_reward(rankings(**changes))
    found = summary(run)["held out"]
    assert found["accuracy"]["value"] > 0.9
    assert found["prompts"] == 3 and found["ties"] == 3
    prompts = json.loads((run / "model" / PROMPTS).read_text())
    assert len(prompts["trained"]) == 9 and not set(prompts["trained"]) & set(prompts["held out"])


@pytest.mark.parametrize("changes", WAYS, ids=lambda changes: "-".join(map(str, changes.values())))
def test_the_scorer_gives_the_scores_that_training_measured(rankings, feedback, changes):
    run = train_reward(rankings(**changes))
    scorer = load_scorer(f"reward:{run}")
    bright, dark = load_preferences(feedback["sets"])[0].images
    higher, lower = scorer([bright.open(), dark.open()], ["two red stars"] * 2).tolist()
    assert higher > lower
    assert (scorer.higher_is_better, scorer.differentiable) == (True, changes.get("backbone") != "statistics")


@pytest.mark.parametrize("train", ["head", "lora", "full"])
def test_an_interrupted_run_resumes_bit_for_bit(rankings, tmp_path, monkeypatch, train):
    common = {"train": train, "steps": 9, "log_every": 2, "batch": 5}
    undisturbed = train_reward(rankings(**common))
    config = rankings(**common, out=tmp_path / "disturbed", checkpoint_every=4)
    step = RewardTrainer.step

    def stopped(self, number):
        if number == 6:
            raise KeyboardInterrupt
        step(self, number)

    with monkeypatch.context() as patch:
        patch.setattr(RewardTrainer, "step", stopped)
        with pytest.raises(KeyboardInterrupt):
            train_reward(config)
    assert_same(undisturbed, train_reward(config))
    read = [(run / "metrics.jsonl").read_text() for run in (undisturbed, config.out)]
    assert read[0] == read[1]


def test_micro_batches_change_only_rounding(rankings, tmp_path):
    whole = weights(train_reward(rankings(steps=5)))
    parts = weights(train_reward(rankings(steps=5, micro_batch=2, out=tmp_path / "parts")))
    for name, value in whole.items():
        torch.testing.assert_close(parts[name], value, atol=1e-4, rtol=1e-3)


def test_a_finished_run_is_not_run_again(rankings, monkeypatch):
    config = rankings(steps=2)
    run = train_reward(config)
    monkeypatch.setattr(stage, "_Learner", lambda *_: pytest.fail("ran again"))
    assert train_reward(config) == run


def test_a_short_training_reads_no_image_that_it_does_not_visit(rankings, tmp_path, monkeypatch):
    opened = set()
    read = StoredImage.open
    monkeypatch.setattr(StoredImage, "open", lambda self: opened.add(self.digest()) or read(self))
    monkeypatch.setattr("palate.reward.visits.SAMPLE", 2)
    few = train_reward(rankings(steps=1, batch=4, validation=0.0, out=tmp_path / "few", cache=tmp_path / "cache"))
    assert 4 <= len(opened) <= 3 * (4 + 2)
    opened.clear()
    train_reward(rankings(steps=30, batch=4, validation=0.0, out=tmp_path / "more", cache=tmp_path / "cache"))
    assert len(opened) > 3 * (4 + 2)  # the rest: a longer training goes on where the cache ends
    assert (few / "model").is_dir()


def test_folds_score_every_prompt_by_a_reward_that_was_not_trained_on_it(rankings, monkeypatch):
    config = rankings(folds=3)
    run = train_reward(config)
    found = summary(run)["folds"]
    assert found["prompts"] == 12 and found["accuracy"]["value"] > 0.9
    assert sorted(file.name for file in (run / "folds").iterdir()) == ["0.json", "1.json", "2.json"]
    (run / "summary.json").unlink()  # as if it had been stopped before the end
    monkeypatch.setattr(RewardTrainer, "step", lambda *_: pytest.fail("a finished fold was trained again"))
    assert summary(train_reward(config))["folds"] == found


def test_every_prompt_has_the_same_weight(rankings):
    task = rankings().task()
    examples = task.examples()
    by_prompt = np.bincount(examples.prompt[:, 0], examples.weight)
    assert by_prompt.tolist() == pytest.approx([len(examples) / 12] * 12)


def test_regression_predicts_grades_and_recognises_its_prompts(grades):
    run = train_reward(grades(steps=60, auxiliary=0.1))
    found = summary(run)["held out"]
    assert found["squared error"] < 0.3 * found["variance of grades"]
    assert found["pair accuracy"]["value"] == 1.0
    bright = load_scorer(f"reward:{run}")
    images = [Image.new("RGB", (24, 24), colour) for colour in ("white", "black")]
    scores = bright(images, ["two red stars"] * 2)
    assert 0 <= scores.min() and scores.max() <= 1


def test_the_discriminator_distinguishes_real_from_generated_images(folders):
    found = summary(train_reward(folders()))["held out"]
    assert found["balanced accuracy"] > 0.9 and found["pair accuracy"]["value"] == 1.0


def test_a_reward_of_a_tensor_has_a_gradient(rankings):
    scorer = load_scorer(f"reward:{train_reward(rankings(steps=3))}")
    images = torch.rand(2, 3, 24, 24, requires_grad=True)
    scorer(images, ["two red stars", "a star"]).sum().backward()
    assert images.grad is not None and images.grad.abs().sum() > 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"backbone": "statistics", "train": "full"}, "statistics have no weights to train"),
        ({"backbone": "statistics", "head": "cosine"}, "statistics take --head linear or mlp"),
        ({"head": "cosine"}, "the cosine has no weights to train"),
        ({"steps": 0}, "steps must be above zero"),
        ({"validation": 1.0}, "share of at least 0 and below 1"),
        ({"folds": 1}, "2 or more, or 0 for none"),
        ({"hidden": (0,)}, "sizes above zero"),
        ({"lr": -1.0}, "lr must be above zero or left out"),
        ({"micro_batch": 3}, r"batch \(8\) must be a multiple of micro_batch \(3\)"),
        ({"steps": 0, "folds": 1}, "steps must be above zero, not 0; folds must be 2 or more"),
    ],
)
def test_impossible_combinations_of_settings_are_refused(rankings, changes, message):
    with pytest.raises(ValueError, match=message):
        rankings(**changes)


def test_bad_sources_are_refused_before_anything_is_written(rankings, grades, folders, feedback, tmp_path):
    for config, message in (
        (rankings(preferences=str(tmp_path / "nothing")), "no preferences at"),
        (rankings(backbone=str(tmp_path / "no-clip")), "cannot load the CLIP model"),
        (grades(grades=feedback["sets"]), "graded images"),
        (folders(generated=(tmp_path / "elsewhere",)), "elsewhere"),
    ):
        with pytest.raises(InputError, match=message):
            train_reward(config)
        assert not config.out.exists()


def test_images_that_are_both_real_and_generated_are_refused(folders, tmp_path):
    with pytest.raises(InputError, match="both real and generated"):
        train_reward(folders(generated=(tmp_path / "real",)))


def test_generated_images_of_other_captions_are_refused(folders, tmp_path):
    config = folders()
    (tmp_path / "generated" / "metadata.jsonl").write_text('{"file_name": "0.png", "prompt": "a thing of its own"}\n')
    with pytest.raises(InputError, match="no real image has the caption 'a thing of its own'"):
        train_reward(config)


def test_a_folder_that_is_not_a_reward_is_refused(rankings, tmp_path):
    with pytest.raises(InputError, match="has no reward"):
        load_scorer(f"reward:{tmp_path / 'nowhere'}")
    run = train_reward(rankings(steps=2))
    (run / "model" / "head.safetensors").write_bytes(b"junk")
    with pytest.raises(InputError, match="is damaged"):
        load_reward(run)


def test_a_head_is_refused_if_the_backbone_s_weights_have_changed(rankings, clip, tmp_path):
    moved = tmp_path / "moved"
    shutil.copytree(clip, moved)
    run = train_reward(rankings(steps=2, backbone=str(moved)))
    weights = load_file(moved / "model.safetensors")
    weights["logit_scale"] += 1
    save_file(weights, moved / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match="has other weights than it was trained on"):
        load_reward(run)


def test_ties_alone_are_refused(rankings, tmp_path):
    sets = [
        dataclasses.replace(each, ranks=(1,) * len(each.images), votes=())
        for each in load_preferences(rankings().preferences)
    ]
    write_sets(sets, tmp_path / "ties.parquet")
    with pytest.raises(InputError, match="ranks no image above another"):
        train_reward(rankings(preferences=str(tmp_path / "ties.parquet")))


@pytest.mark.parametrize("train", ["lora", "full"])
def test_a_backbone_in_float16_is_trained_with_a_scaled_loss_and_resumes_bit_for_bit(rankings, tmp_path, train):
    common = {"train": train, "precision": "fp16", "steps": 6, "log_every": 1, "lr": 1e-2}
    whole = train_reward(rankings(**common, out=tmp_path / "whole"))
    config = rankings(**common, out=tmp_path / "parts", checkpoint_every=3)
    update, calls = RewardTrainer.step, []

    def interrupted(self, step):
        calls.append(1)
        if len(calls) == 5:
            raise KeyboardInterrupt
        update(self, step)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RewardTrainer, "step", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train_reward(config)
    train_reward(config)
    found, resumed = (
        [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()] for run in (whole, config.out)
    )
    assert found == resumed and found[-1]["loss"] < found[0]["loss"]
    assert all({"loss_scale", "skipped"} <= line.keys() for line in found)


def test_a_head_alone_computes_in_float32_whatever_the_precision(rankings):
    folder = train_reward(rankings(train="head", precision="fp16", steps=2, log_every=1))
    assert "loss_scale" not in (folder / "metrics.jsonl").read_text()
