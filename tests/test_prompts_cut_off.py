"""Every stage that reads prompts reports how many of them it cuts off, and counts them in its summary."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pictures import image_folder, stored
from tiny_pipelines import PROMPT_LENGTH, random_clip, random_stable_diffusion

from palate.align.methods.dpo import DPOConfig
from palate.align.stage import align
from palate.choose.best_of import BestOfConfig, generate_best
from palate.core.runs import RunFolder
from palate.evaluate.config import EvaluateConfig
from palate.evaluate.order import OrderConfig, order_sources
from palate.evaluate.stage import evaluate
from palate.generate.stage import GenerateConfig, generate
from palate.models.prompt_length import COUNT
from palate.prefer.relabel import RelabelConfig, relabel
from palate.records.parquet import write_sets
from palate.records.ranked import RankedSet
from palate.reward.config import BradleyTerryConfig, RewardTestConfig
from palate.reward.stage import train_reward
from palate.reward.testing import test_rewards
from palate.score.stage import ScoreConfig, score

LONG, SHORT = "a" * (PROMPT_LENGTH - 1), "a" * (PROMPT_LENGTH - 2)
"""In the random models a token is a character; two tokens mark beginning and end."""


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Models, prompts, images and rankings, of one prompt that fits and one that is too long."""
    root = tmp_path_factory.mktemp("given")
    (root / "prompts.txt").write_text(f"{LONG}\n{SHORT}\n")
    images = (stored("white", (24, 24)), stored("black", (24, 24)))
    write_sets([RankedSet(each, images, (1, 2)) for each in (LONG, SHORT)], root / "sets.parquet")
    return {
        "model": str(random_stable_diffusion(root / "model")),
        "clip": str(random_clip(root / "clip")),
        "prompts": str(root / "prompts.txt"),
        "images": str(image_folder(root / "images", [LONG, LONG, SHORT], (24, 24))),
        "sets": str(root / "sets.parquet"),
    }


def summary(run: Path) -> dict[str, Any]:
    found = RunFolder(run).finished
    assert found
    return found


def drawing(given: dict[str, str], tmp_path: Path) -> dict[str, Any]:
    return {"model": given["model"], "prompts": given["prompts"], "images": 1, "steps": 1, "out": tmp_path / "run"}


def said(capsys: pytest.CaptureFixture[str], reader: str) -> bool:
    return f"1 prompt is longer than {reader} reads, so its end is cut off: 'aaa" in capsys.readouterr().err


def test_generate(given: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert summary(generate(GenerateConfig(**drawing(given, tmp_path))))[COUNT] == 1
    assert said(capsys, given["model"])


def test_best_of(given: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scorer = f"clip:{given['clip']}"
    generate_best(BestOfConfig(**drawing(given, tmp_path), best_of=2, scorer=scorer))
    assert said(capsys, scorer)


def test_align(given: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings: dict[str, Any] = {"cache": tmp_path / "cache", "steps": 2, "batch": 2, "device": "cpu"}
    run = align(DPOConfig(model=given["model"], preferences=given["sets"], out=tmp_path / "run", **settings))
    assert summary(run)[COUNT] == 1
    assert said(capsys, given["model"])


def test_score(given: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scorer = f"clip:{given['clip']}"
    run = score(ScoreConfig(images=Path(given["images"]), scorer=(scorer, "image:contrast"), out=tmp_path / "run"))
    assert [(key, count) for key, count in summary(run).items() if COUNT in key] == [(f"{COUNT} by {scorer}", 1)]
    assert said(capsys, scorer)


def test_relabel(given: dict[str, str], tmp_path: Path) -> None:
    scorer = f"clip:{given['clip']}"
    run = relabel(RelabelConfig(preferences=given["sets"], scorer=(scorer,), out=tmp_path / "run"))
    assert summary(run)[f"{COUNT} by {scorer}"] == 1


def test_reward(given: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings: dict[str, Any] = {"steps": 2, "batch": 2, "validation": 0.0, "cache": tmp_path / "cache"}
    config = BradleyTerryConfig(preferences=given["sets"], backbone=given["clip"], out=tmp_path / "run", **settings)
    run = train_reward(config)
    assert summary(run)[COUNT] == 1
    assert said(capsys, given["clip"])
    config = RewardTestConfig(
        scorer=(f"reward:{run}",), preferences=given["sets"], prompts="all", out=tmp_path / "test"
    )
    assert summary(test_rewards(config))[f"{COUNT} by reward:{run}"] == 1


def test_order(given: dict[str, str], tmp_path: Path) -> None:
    scorer, images = f"clip:{given['clip']}", (f"one={given['images']}", f"other={given['images']}")
    run = order_sources(OrderConfig(scorer=scorer, images=images, prompts="all", out=tmp_path / "run"))
    assert summary(run)[f"{COUNT} by {scorer}"] == 1


def test_evaluate(given: dict[str, str], tmp_path: Path) -> None:
    judge = f"clip:{given['clip']}"
    asked: dict[str, Any] = {"base": given["model"], "aligned": given["model"], "prompts": given["prompts"]}
    run = evaluate(EvaluateConfig(**asked, judge=judge, also=(), images=2, steps=1, out=tmp_path / "run"))
    found = {key: count for key, count in summary(run).items() if COUNT in key}
    assert found == {f"{COUNT} by base": 1, f"{COUNT} by aligned": 1, f"{COUNT} by {judge}": 1}
