"""Each objective's recipe for tiny-sd, shortened: the auditor's number must move the right way on unseen prompts.

The bounds are far below what was measured (docs/lab-notes.md): they say that a method learns, not how well.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from palate.align.stage import align
from palate.cli.align import METHODS
from palate.core.config import load
from palate.core.statistics import difference
from palate.generate.stage import GenerateConfig, generate
from palate.prefer.grading import GradeConfig, grade
from palate.records.image_folder import read_image_folder
from palate.score.load import load_scorer
from palate.score.stage import ScoreConfig, score

RECIPES = Path(__file__).parents[2] / "recipes"
UNSEEN, IMAGES = 96, 2
STEPS = 120
"""Of the recipes' 300: enough to tell a method that learns from one that does not, and a third of the time."""


@pytest.fixture(scope="module", autouse=True)
def every_core() -> Iterator[None]:
    """One training at a time, so that it may have all cores; other tests run beside each other, on one each."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(os.cpu_count() or 1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("learning")


@pytest.fixture(scope="module")
def feedback(root: Path) -> dict[str, str]:
    """What the recipes' comments make first."""
    thumbs = grade(GradeConfig(preferences="tiny-preferences", out=root / "thumbs"))
    images = generate(GenerateConfig(model="tiny-sd", prompts="seen", images=2, seed=5, batch=32, out=root / "images"))
    scores = score(ScoreConfig(images=images, scorer=("teacher:faithful",), out=root / "scores"))
    rewards = grade(GradeConfig(scores=scores, out=root / "rewards"))
    return {"kto": str(thumbs), "reward_weighted": str(rewards)}


def faithful(model: str, out: Path):
    """The auditor's verdicts [P, N] on unseen prompts."""
    drawn = GenerateConfig(model=model, prompts="unseen", limit=UNSEEN, images=IMAGES, seed=9, batch=32, out=out)
    records = read_image_folder(generate(drawn))
    verdicts = load_scorer("auditor:faithful")([r.image.open() for r in records], [r.prompt for r in records])
    return verdicts.view(UNSEEN, IMAGES).numpy()


@pytest.fixture(scope="module")
def base(root: Path):
    return faithful("tiny-sd", root / "base")


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS)
def test_the_recipe_makes_tiny_sd_more_faithful(name: str, root: Path, feedback: dict[str, str], base) -> None:
    config = load(METHODS[name][0], RECIPES / f"{name}-tiny.yaml")
    source = feedback.get(name, config.preferences)
    run = align(dataclasses.replace(config, steps=STEPS, preferences=source, out=root / name, cache=root / "cache"))
    gain = difference(base, faithful(str(run), root / f"{name}-images"))
    print(f"{name}: {100 * base.mean():.1f} {100 * gain.value:+.1f} [{100 * gain.low:.1f}, {100 * gain.high:.1f}]")
    assert gain.low > 0
