"""Each diagnosis has a run on tiny-sd that provokes it: `recipes/curves/`, whose pictures docs/align.md shows."""

import dataclasses
import json
from pathlib import Path

import pytest

from palate.align.diagnosis import ADVICE
from palate.align.methods.dpo import DPOConfig
from palate.align.stage import align
from palate.core.config import load

RECIPES = sorted((Path(__file__).parents[2] / "recipes" / "curves").glob("*.yaml"))


def test_every_diagnosis_has_a_recipe_and_a_picture():
    names = {recipe.stem.replace("-", " ") for recipe in RECIPES}
    assert names == set(ADVICE)
    pictures = Path(__file__).parents[2] / "docs" / "curves"
    for recipe in RECIPES:
        assert load(DPOConfig, recipe).out == Path(f"runs/curves/{recipe.stem}")
        assert 1000 < (pictures / f"{recipe.stem}.png").stat().st_size < 60_000


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_the_run_is_diagnosed_by_its_name(recipe, tmp_path, tmp_path_factory):
    cache = tmp_path_factory.getbasetemp() / "curves-cache"
    run = align(dataclasses.replace(load(DPOConfig, recipe), out=tmp_path / "run", cache=cache))
    found = json.loads((run / "summary.json").read_text())["diagnosis"]
    print(f"{recipe.stem}: {found['evidence']}")
    assert found["name"] == recipe.stem.replace("-", " ")
