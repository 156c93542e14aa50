"""Validation while training: what is measured, that training does not notice, and which inputs are refused."""

import json
import os
import signal

import numpy as np
import pytest
from PIL import Image
from trained import assert_same_weights, lines, run

from palate.align.learned import learning_sets
from palate.align.methods.cpo import CPOConfig
from palate.align.methods.kto import KTOConfig
from palate.align.methods.listwise import ListwiseConfig
from palate.align.methods.mapo import MaPOConfig
from palate.align.methods.reward_weighted import RewardWeightedConfig
from palate.align.validation.samples import Samples
from palate.core.errors import ConfigError, InputError
from palate.generate.image_plan import plan_images
from palate.generate.sampler import Sampler

PROMPTS = ["a red star", "two blue stars", "a star"]


@pytest.fixture
def prompts(tmp_path):
    path = tmp_path / "prompts.txt"
    path.write_text("\n".join(PROMPTS))
    return str(path)


@pytest.fixture
def validated(prompts):
    """Settings of validation: three images, a scorer, and a fifth of the prompts held out."""
    return {
        "validation_prompts": prompts,
        "validation_steps": 2,
        "scorer": ("image:brightness",),
        "held_out": "0.2",
        "validate_every": 3,
    }


def rows(folder):
    return [json.loads(line) for line in (folder / "validation.jsonl").read_text().splitlines()]


def untimed(folder):
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows(folder)]


def picture(path):
    return np.asarray(Image.open(path)).astype(int)


def drawn(model, number):
    """The image of a prompt as `palate generate` draws it, with the seed of its plan."""
    item = plan_images(PROMPTS, 1)[number]
    return np.asarray(Sampler(model, device="cpu", steps=2).sample([item.prompt], [item.seed])[0]).astype(int)


@pytest.mark.parametrize("more", [{"train": "lora", "ema": 0.9}, {"train": "full"}], ids=["lora-ema", "full"])
def test_validation_does_not_change_the_weights(dpo_config, validated, tmp_path, more):
    alone = run(dpo_config(**more, held_out="0.2", validate_every=100, out=tmp_path / "alone"))
    both = run(dpo_config(**more, **validated, out=tmp_path / "both"))
    assert [row["step"] for row in rows(both)] == [0, 3, 6]
    assert lines(alone) == lines(both)
    for name in ("policy.safetensors", "policy-optimizer.safetensors"):
        step = "checkpoints/step-6"
        assert (alone / step / name).read_bytes() == (both / step / name).read_bytes()


def test_a_run_without_validation_has_a_report_and_no_validations(dpo_config):
    folder = run(dpo_config())
    assert (folder / "report.html").is_file() and not (folder / "validation.jsonl").exists()
    summary = json.loads((folder / "summary.json").read_text())
    assert "best" not in summary and summary["diagnosis"]["name"] == "too early to tell"


@pytest.mark.parametrize("more", [{"ema": 0.5}, {"train": "full"}], ids=["lora-ema", "full"])
def test_samples_are_the_images_that_generate_draws_with_the_base_and_the_saved_model(
    dpo_config, validated, world, more
):
    folder = run(dpo_config(**validated, **more, lr=2e-2))
    for step, model in ((0, world["eps"]), (6, folder)):
        for number in (0, 2):
            ours = picture(folder / "samples" / f"step-{step}" / f"{number:05d}-000.png")
            assert np.abs(ours - drawn(model, number)).max() <= 1  # prompts are encoded in batches, which round
    assert np.abs(drawn(folder, 0) - drawn(world["eps"], 0)).max() > 1


def test_the_best_model_is_the_one_of_its_step(dpo_config, validated):
    folder = run(dpo_config(**validated, lr=2e-2))
    best = json.loads((folder / "summary.json").read_text())["best"]
    medians = {row["step"]: row["scores"]["image:brightness"]["median"] for row in rows(folder)}
    assert best["by"] == "median of image:brightness" and best["base"] == medians[0]
    assert best["value"] == medians[best["step"]] == max(medians[3], medians[6])
    card = json.loads((folder / "model" / "best" / "palate.json").read_text())
    assert card["training_steps"] == best["step"]
    ours = picture(folder / "samples" / f"step-{best['step']}" / "00000-000.png")
    assert np.abs(ours - drawn(folder / "model" / "best", 0)).max() <= 1


def test_scores_are_those_of_the_drawn_images(dpo_config, validated):
    folder = run(dpo_config(**validated))
    brightness = [drawn(folder, number) @ np.array([0.299, 0.587, 0.114]) for number in range(3)]
    found = rows(folder)[-1]["scores"]["image:brightness"]
    assert found["median"] == pytest.approx(np.median([each.mean() for each in brightness]) / 255, abs=5e-3)
    assert found["mean"] == pytest.approx(np.mean([each.mean() for each in brightness]) / 255, abs=5e-3)
    assert found["median_low"] is None  # three prompts are too few for an interval


def test_ctrl_c_in_a_validation_loses_nothing(dpo_config, validated, tmp_path, monkeypatch):
    settings = {**validated, "ema": 0.5, "validation_batch": 1}  # on some processors an image depends on its batch
    undisturbed = run(dpo_config(**settings))
    config = dpo_config(**settings, out=tmp_path / "pressed")
    draw, calls = Samples._draw_batch, []

    def press(self, done, items):
        calls.append(done)
        if done == 3:
            os.kill(os.getpid(), signal.SIGINT)
        return draw(self, done, items)

    with monkeypatch.context() as patch:
        patch.setattr(Samples, "_draw_batch", press)
        with pytest.raises(KeyboardInterrupt):
            run(config)
    assert calls == [0, 0, 0, 3]  # it stops after the image that is being drawn
    assert [path.name for path in (config.out / "checkpoints").iterdir()] == ["step-3"]
    assert "stopped" in (config.out / "report.html").read_text()
    resumed = run(config)
    assert_same_weights(undisturbed, resumed)
    assert untimed(undisturbed) == untimed(resumed) and lines(undisturbed) == lines(resumed)


@pytest.mark.parametrize("kind", [CPOConfig, MaPOConfig, ListwiseConfig, KTOConfig, RewardWeightedConfig])
def test_every_method_is_validated_on_held_out_feedback(config_of, world, kind):
    source = {KTOConfig: "thumbs", RewardWeightedConfig: "rewards", ListwiseConfig: "lists"}.get(kind, "pairs")
    folder = run(config_of(kind, preferences=str(world[source]), held_out="0.4", validate_every=6))
    first, last = (row["held_out"] for row in rows(folder))
    roles = [name.removeprefix("error_ref_") for name in first if name.startswith("error_ref_")]
    assert roles and all(first[f"error_{role}"] == first[f"error_ref_{role}"] for role in roles)
    assert any(last[f"error_{role}"] != last[f"error_ref_{role}"] for role in roles)
    assert json.loads((folder / "summary.json").read_text())["best"]["by"].startswith("held-out")


def test_sft_is_validated_by_its_held_out_error(sft_config, world):
    folder = run(sft_config(held_out=str(world["pairs"]), steps=20, train="full", validate_every=10))
    first, _, last = (row["held_out"] for row in rows(folder))
    assert last["error_image"] < first["error_image"] == first["error_ref_image"] == first["loss"]
    assert json.loads((folder / "summary.json").read_text())["best"]["by"] == "held-out loss"


def test_held_out_accuracy_begins_at_a_half_and_dpo_s_held_out_loss_at_log_2(dpo_config):
    first = rows(run(dpo_config(held_out="0.4", steps=1)))[0]["held_out"]
    assert first["accuracy"] == 0.5 and first["margin"] == 0 and first["loss"] == pytest.approx(np.log(2), abs=1e-6)
    assert first["accuracy_low"] < 0.5 < first["accuracy_high"]


def test_ten_validations_are_made_where_no_interval_is_named(dpo_config):
    folder = run(dpo_config(held_out="0.4", held_out_limit=1, steps=20, log_every=10))
    assert [row["step"] for row in rows(folder)] == list(range(0, 21, 2))


def test_held_out_prompts_are_not_trained_on_and_do_not_depend_on_the_method_or_the_seed(dpo_config, sft_config):
    held = []
    for config in (dpo_config(held_out="0.4"), dpo_config(held_out="0.4", seed=5), sft_config(held_out="0.4")):
        training, held_out = learning_sets(config, config.method())
        assert held_out is not None
        assert not set(training.prompts[1:]) & set(held_out.prompts[1:])
        assert len(training.prompts) - 1 == 3 and len(held_out.prompts) - 1 == 2  # of five prompts
        held.append(set(held_out.prompts))
    assert held[0] == held[1] == held[2]


def test_a_diverged_model_s_images_are_counted_and_do_not_stop_training(dpo_config, validated, monkeypatch):
    from palate.core.finite import NotFiniteError

    def overflow(*_):
        raise NotFiniteError("the latents are not finite")

    monkeypatch.setattr(Sampler, "draw", overflow)
    folder = run(dpo_config(**validated))
    assert rows(folder)[-1]["failed"] == 3 and rows(folder)[-1]["scores"]["image:brightness"]["median"] is None
    assert ">none<" in (folder / "report.html").read_text()


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"scorer": ("nosuchscorer",)}, "the scorer 'nosuchscorer' has no known family"),
        ({"validation_prompts": "unsen"}, "no prompt set named 'unsen'; did you mean 'unseen'"),
        ({"validation_prompts": "missing.txt"}, "prompt file 'missing.txt' does not exist"),
        ({"held_out": "missing"}, "no preferences at 'missing'"),
    ],
)
def test_a_wrong_input_is_named_before_anything_is_written(dpo_config, validated, changes, message):
    config = dpo_config(**{**validated, **changes})
    with pytest.raises(InputError, match=message):
        run(config)
    assert not config.out.exists()


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"held_out": "0"}, "held_out must be a share above 0 and below 1, or preferences, not 0"),
        ({"held_out": "1"}, "above 0 and below 1, or preferences, not 1"),
        ({"held_out": "nan"}, "above 0 and below 1, or preferences, not nan"),
        ({"scorer": ("image:brightness",)}, "scorer scores images of validation prompts"),
        ({"validate_every": 5}, "validate_every needs something to validate"),
        ({"validation_images": 0}, "validation_images must be above zero"),
        ({"held_out": "0.5", "held_out_limit": 0}, "held_out_limit must be above zero"),
    ],
)
def test_wrong_settings_are_refused(dpo_config, changes, message):
    with pytest.raises((ValueError, ConfigError), match=message):
        dpo_config(**changes)


def test_a_held_out_share_of_one_prompt_is_refused(world, dpo_config, tmp_path):
    from palate.prefer.load import load_preferences
    from palate.records.parquet import write_sets

    alike = [each for each in load_preferences(world["pairs"]) if each.prompt == "0 stars"]
    write_sets(alike, tmp_path / "alike.parquet")
    with pytest.raises(InputError, match="the preferences have one prompt only; give other preferences"):
        run(dpo_config(preferences=str(tmp_path / "alike.parquet"), held_out="0.5"))


def test_held_out_feedback_that_a_method_cannot_measure_is_refused(config_of, world, tmp_path):
    config = config_of(KTOConfig, preferences=str(world["thumbs"]), held_out=str(world["pairs"]))
    with pytest.raises(InputError):
        run(config)


def test_one_prompt_is_enough(dpo_config, tmp_path):
    (tmp_path / "one.txt").write_text("a star")
    folder = run(dpo_config(validation_prompts=str(tmp_path / "one.txt"), validation_steps=1, steps=2))
    assert [row["images"] for row in rows(folder)] == [1, 1, 1] and not (folder / "model" / "best").exists()


def test_two_prompts_of_the_training_set_among_the_held_out_ones_are_noted(dpo_config, world, capsys):
    run(dpo_config(held_out=str(world["pairs"]), steps=1))
    assert "5 of the held-out prompts are also trained on" in capsys.readouterr().err
