"""Every method runs with a single step, example and prompt, or its error message says what it needs."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from align.conftest import picture
from trained import lines, run

from palate.align.methods import METHODS, method_config
from palate.core.errors import InputError
from palate.prefer.grades import write_graded
from palate.records.graded_image import GradedImage
from palate.records.parquet import write_sets
from palate.records.ranked import RankedSet

SHAPES = [("lora", "one", 1, 1), ("lora", "few", 1, 8), ("lora", "few", 3, 2)]
SHAPES += [("full", "one", 1, 1), ("full", "few", 2, 2)]
"""The trained part, the amount of feedback, steps, and examples per step."""
GRADED = {"kto", "reward_weighted"}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One example of each kind of feedback, and three sets of four ranked images of one prompt."""
    root = tmp_path_factory.mktemp("small")
    ranked = [tuple(picture(10 * i + place, place == 0) for place in range(4)) for i in range(3)]
    write_sets([RankedSet("a star", images[:2], (1, 2)) for images in ranked[:1]], root / "one-ranked.parquet")
    write_sets([RankedSet("a star", images, (1, 2, 3, 4)) for images in ranked], root / "few-ranked.parquet")
    thumbs = [GradedImage("a star", images[place], 1.0 - place) for images in ranked for place in (0, 1)]
    write_graded(thumbs[:1], root / "alone.parquet")
    write_graded(thumbs[:2], root / "one-graded.parquet")
    write_graded(thumbs, root / "few-graded.parquet")
    return {path.stem: path for path in root.iterdir()}


@pytest.mark.parametrize("train, size, steps, batch", SHAPES)
@pytest.mark.parametrize("name", METHODS)
def test_a_short_run_finishes_without_an_error(small, config_of, name, train, size, steps, batch):
    source = str(small[f"{size}-{'graded' if name in GRADED else 'ranked'}"])
    settings = {"train": train, "steps": steps, "batch": batch, "rank": 1, "preferences": source}
    folder = run(config_of(method_config(name), **settings))
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["steps"] == steps and math.isfinite(summary["last_tenth"]["loss"])
    assert lines(folder)[-1]["step"] == steps


def test_a_short_run_with_an_adversarial_term_finishes_too(small, sft_config):
    run(sft_config(preferences=str(small["one-ranked"]), steps=1, batch=1, adversarial=0.1))


def test_one_graded_image_is_enough_for_its_reward_and_not_for_thumbs(small, config_of, tmp_path):
    settings = {"preferences": str(small["alone"]), "steps": 1, "batch": 1}
    run(config_of(method_config("reward_weighted"), **settings))
    with pytest.raises(InputError, match="kto needs thumbs up and thumbs down, and every grade is 1"):
        run(config_of(method_config("kto"), **settings, out=tmp_path / "kto"))
