"""Each objective's recipe for tiny-sd, shortened: the auditor's number must move the right way on unseen prompts.

The bounds are far below what was measured (docs/lab-notes.md): they say that a method learns, not how well.
"""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

from palate.align.methods import METHODS, method_config
from palate.align.stage import align
from palate.core.config import load
from palate.core.statistics import difference
from palate.generate.stage import GenerateConfig, generate
from palate.prefer.grading import GradeConfig, grade
from palate.records.image_folder import read_image_folder
from palate.score.load import load_scorer

RECIPES = Path(__file__).parents[2] / "recipes"
UNSEEN, IMAGES = 72, 2
VARIANTS = ("sft-adversarial", "dpo-safeguard", "dpo-auto", "dpo-soft", "dpo-min_snr", "dpo-masked")
STEPS = 60
"""Of the recipes' 300: enough to tell a method that learns from one that does not, and a fifth of the time."""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("learning")


@pytest.fixture(scope="module")
def feedback(root: Path, graded_seen: Path) -> dict[str, str]:
    """What the recipes' comments make first; of rewards, half as many images."""
    thumbs = grade(GradeConfig(preferences="tiny-preferences", out=root / "thumbs"))
    edited = root / "edited.parquet"
    subprocess.run([sys.executable, RECIPES / "tiny" / "edited_pairs.py", edited], check=True)
    return {"kto": str(thumbs), "reward_weighted": str(graded_seen), "dpo-masked": str(edited)}


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
@pytest.mark.parametrize("name", [*METHODS, *VARIANTS])
def test_the_recipe_makes_tiny_sd_more_faithful(name: str, root: Path, feedback: dict[str, str], base) -> None:
    config = load(method_config(name.partition("-")[0]), RECIPES / f"{name}-tiny.yaml")
    source = feedback.get(name, config.preferences)
    run = align(dataclasses.replace(config, steps=STEPS, preferences=source, out=root / name, cache=root / "cache"))
    gain = difference(base, faithful(str(run), root / f"{name}-images"))
    print(f"{name}: {100 * base.mean():.1f} {100 * gain.value:+.1f} [{100 * gain.low:.1f}, {100 * gain.high:.1f}]")
    assert gain.low > 0
