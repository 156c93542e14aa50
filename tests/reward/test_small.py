"""Every reward learns from one step, one example and one prompt on, or says what it needs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from reward.conftest import picture

from palate.core.errors import InputError
from palate.prefer.grades import write_graded
from palate.records.graded_image import GradedImage
from palate.records.parquet import write_sets
from palate.records.ranked import RankedSet
from palate.reward.config import RewardConfig
from palate.reward.examples import held_out
from palate.reward.stage import PROMPTS, train_reward
from palate.score.load import load_scorer

SHAPES = [("head", 1, 1), ("head", 1, 8), ("head", 2, 2), ("head", 3, 2), ("lora", 1, 1), ("full", 1, 1)]
"""What is trained, steps, and examples a step."""


def images(folder: Path, prompts: list[str], level: int) -> Path:
    folder.mkdir(parents=True)
    rows = []
    for number, prompt in enumerate(prompts):
        (folder / f"{number}.png").write_bytes(picture(number + level, level).read())
        rows.append(json.dumps({"file_name": f"{number}.png", "prompt": prompt}))
    (folder / "metadata.jsonl").write_text("\n".join(rows) + "\n")
    return folder


@pytest.fixture
def learn(clip: str, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Trains a reward on as many prompts as are given, one example each; returns its summary."""
    from palate.reward.config import BradleyTerryConfig, DiscriminatorConfig, RegressionConfig

    def run(name: str, prompts: list[str], ranks: tuple[int, int] = (1, 2), **changes: Any) -> dict[str, Any]:
        root, bright, dark = tmp_path / f"{len(list(tmp_path.iterdir()))}", picture(1, 200), picture(2, 60)
        common: dict[str, Any] = {"backbone": clip, "out": root / "run", "cache": tmp_path / "cache", "rank": 1}
        common |= {"hidden": (4,), "device": "cpu", "precision": "fp32", **changes}
        config: RewardConfig
        if name == "bradley_terry":
            write_sets([RankedSet(each, (bright, dark), ranks) for each in prompts], root / "sets.parquet")
            config = BradleyTerryConfig(preferences=str(root / "sets.parquet"), **common)
        elif name == "regression":
            write_graded([GradedImage(each, bright, 1.0) for each in prompts], root / "grades.parquet")
            config = RegressionConfig(grades=str(root / "grades.parquet"), **common)
        else:
            real, generated = images(root / "real", prompts, 200), images(root / "generated", prompts, 60)
            config = DiscriminatorConfig(real=real, generated=(generated,), **common)
        return json.loads((train_reward(config) / "summary.json").read_text())

    return run


def latest(tmp_path: Path) -> Path:
    return max((each for each in tmp_path.iterdir() if each.name.isdigit()), key=lambda each: int(each.name)) / "run"


@pytest.mark.parametrize("train, steps, batch", SHAPES)
@pytest.mark.parametrize("name", ["bradley_terry", "regression", "discriminator"])
def test_one_prompt_is_enough(learn, tmp_path, name, train, steps, batch):
    summary = learn(name, ["a star"], train=train, steps=steps, batch=batch)
    assert summary["examples"] == 2 if name == "discriminator" else 1
    assert "held out" not in summary
    found = json.loads((latest(tmp_path) / "model" / PROMPTS).read_text())
    assert found == {"trained": ["a star"], "held out": []}
    assert load_scorer(f"reward:{latest(tmp_path)}")([picture(1, 200).open()], ["a star"]).isfinite().all()


@pytest.mark.parametrize("name", ["bradley_terry", "regression", "discriminator"])
def test_of_two_prompts_one_is_trained_on_for_any_share(learn, name):
    for share in (0.1, 0.9):
        assert "held out" in learn(name, ["a star", "a moon"], steps=1, batch=1, validation=share)


def test_a_note_says_that_a_single_prompt_is_not_held_out(learn, capfd):
    learn("bradley_terry", ["a star"], steps=1, batch=1)
    assert "no prompt is held out: there is only one" in capfd.readouterr().err


def test_held_out_pairs_that_all_tie_have_no_accuracy(clip, tmp_path):
    """No number stands for what nobody measured, and no JSON holds one that is not finite."""
    from palate.reward.config import BradleyTerryConfig

    prompts = [f"{number} stars" for number in range(8)]
    pair = picture(1, 200), picture(2, 60)
    (tied,) = held_out(prompts, 0.1, 0)
    source = tmp_path / "sets.parquet"
    write_sets([RankedSet(each, pair, (1, 1) if each == tied else (1, 2)) for each in prompts], source)
    config = BradleyTerryConfig(
        preferences=str(source), backbone=clip, steps=1, batch=2, hidden=(4,), device="cpu", out=tmp_path / "run",
        cache=tmp_path / "cache",
    )  # fmt: skip
    found = json.loads((train_reward(config) / "summary.json").read_text())["held out"]
    assert found["ties"] == 1 and "accuracy" not in found and found["accuracy with ties"]["n"] == 1


def test_more_folds_than_prompts_are_refused_before_anything_is_written(learn, tmp_path):
    with pytest.raises(InputError, match=r"folds \(3\) must not be more than the prompts \(2\)"):
        learn("bradley_terry", ["a star", "a moon"], folds=3)
    assert not latest(tmp_path).exists()


def test_as_many_folds_as_prompts_are_enough(learn):
    assert learn("bradley_terry", ["a star", "a moon"], folds=2, steps=1, batch=1)["folds"]["prompts"] == 2
