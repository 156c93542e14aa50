"""Rewards learn what the tiny world's people, judge and camera know; numbers of full runs are in docs/lab-notes.md."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
from graded import grade_images

from palate.caption.stage import CaptionConfig, caption
from palate.core.config import load
from palate.core.statistics import difference
from palate.evaluate.order import OrderConfig, order_sources
from palate.generate.stage import GenerateConfig, generate
from palate.prefer.grades import load_graded, write_graded
from palate.prefer.simulate import SimulateConfig, simulate_preferences
from palate.records.graded_image import GradedImage
from palate.reward.config import BradleyTerryConfig, DiscriminatorConfig, RegressionConfig, RewardTestConfig
from palate.reward.stage import train_reward
from palate.reward.testing import test_rewards
from palate.score.filter import FilterConfig, filter_images
from palate.score.load import load_scorer
from palate.score.stage import ScoreConfig, score

ROOT = Path(__file__).parents[2]
RECIPES = ROOT / "recipes"
UNSEEN, SEEDS = 96, 3

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("rewards")


@pytest.fixture(scope="module")
def unseen(root: Path) -> Path:
    """Four images of prompts that no preference set has."""
    drawn = GenerateConfig(model="tiny-sd", prompts="unseen", limit=UNSEEN, images=4, seed=77, batch=32, out=root / "u")
    return generate(drawn)


def test_bradley_terry_foretells_people_on_unseen_prompts(root: Path, unseen: Path) -> None:
    people = simulate_preferences(
        SimulateConfig(images=unseen, scorer="teacher:utility", temperature=0.5, out=root / "people")
    )
    recipe = load(BradleyTerryConfig, RECIPES / "reward-bradley_terry-tiny.yaml")
    run = train_reward(dataclasses.replace(recipe, out=root / "bt", cache=root / "cache"))
    specs = (f"reward:{run}", "clip:tiny-clip", "image:sharpness", "teacher:utility")
    test = test_rewards(RewardTestConfig(scorer=specs, preferences=str(people), out=root / "bt-test"))
    found = json.loads((test / "summary.json").read_text())["scorers"]
    print({spec: each["accuracy"] for spec, each in found.items()})
    learned, clip, sharpness, teacher = (found[spec]["accuracy"] for spec in specs)
    assert learned["low"] > 0.62 and learned["value"] > sharpness["high"]
    assert clip["value"] - 0.02 < learned["value"] < teacher["high"]
    assert found[specs[0]]["calibration"]["error"] < 0.08 < found["clip:tiny-clip"]["calibration"]["error"]


def unseen_grades(unseen: Path) -> list[GradedImage]:
    """The images of unseen prompts, graded once."""
    done = Path(f"{unseen}-grades")
    return load_graded(done if done.exists() else grade_images(unseen))


@pytest.mark.parametrize("count", [96, 384])
def test_the_auxiliary_task_improves_generalisation(root: Path, unseen: Path, graded_seen: Path, count: int) -> None:
    """The finding of Lee et al. 2023: with prompt classification beside it, a reward errs less on unseen prompts."""
    feedback, asked, graded = root / f"graded-{count}.parquet", unseen_grades(unseen), load_graded(graded_seen)
    chosen = np.random.default_rng(0).permutation(len(graded))[:count]
    write_graded([graded[number] for number in chosen], feedback)
    images, prompts = [each.image.open() for each in asked], [each.prompt for each in asked]
    grade = np.array([each.grade for each in asked])
    recipe = load(RegressionConfig, RECIPES / "reward-regression-tiny.yaml")
    recipe = dataclasses.replace(recipe, grades=str(feedback), validation=0.0, cache=root / "cache")

    def error(auxiliary: float) -> np.ndarray:
        """The squared error [P, N] on unseen prompts, mean over seeds."""
        found = []
        for seed in range(SEEDS):
            out = root / f"lee-{count}-{auxiliary}-{seed}"
            run = train_reward(dataclasses.replace(recipe, auxiliary=auxiliary, seed=seed, out=out))
            found.append(np.square(load_scorer(f"reward:{run}")(images, prompts).numpy() - grade))
        return np.mean(found, 0).reshape(UNSEEN, 4)

    without, with_it = error(0.0), error(recipe.auxiliary)
    gain = difference(without, with_it)
    print(count, without.mean(), with_it.mean(), gain)
    assert gain.high < 0


def test_realism_orders_generators_as_they_are(root: Path) -> None:
    """Real pictures, then the base at 20, 4 and 1 steps, by captions that the discriminator was not trained on."""
    spec = importlib.util.spec_from_file_location("photographs", RECIPES / "tiny" / "photographs.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    photographs = module.photographs(root / "photographs", 480)
    appeal = score(ScoreConfig(images=photographs, scorer=("teacher:appeal",), out=root / "appeal"))
    curated = filter_images(FilterConfig(scores=appeal, at_least=0.9, out=root / "curated"))
    real = caption(CaptionConfig(images=curated, captioner="teacher", skip_bad=True, out=root / "captions"))
    drawn = {
        steps: generate(
            GenerateConfig(
                model="tiny-sd", prompts=str(real), images=1, steps=steps, seed=3, batch=32, out=root / f"base-{steps}"
            )
        )
        for steps in (20, 4, 1)
    }
    recipe = load(DiscriminatorConfig, RECIPES / "reward-discriminator-tiny.yaml")
    run = train_reward(
        dataclasses.replace(
            recipe, real=real, generated=tuple(drawn.values()), out=root / "discriminator", cache=root / "cache"
        )
    )
    sources = (f"real={real}", *(f"base-{steps}={folder}" for steps, folder in drawn.items()))
    order = order_sources(OrderConfig(scorer=f"reward:{run}", images=sources, out=root / "order"))
    found = json.loads((order / "summary.json").read_text())
    print(found["order"], found["neighbours"])
    assert found["order"] == ["real", "base-20", "base-4", "base-1"]
    assert [each["clear"] for each in found["neighbours"]][0::2] == [True, True]  # real from drawn, 4 steps from 1
