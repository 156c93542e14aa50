import re
import tomllib
from pathlib import Path

import pytest
from floors import ROOT, floors

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version))


def constraints() -> dict[str, str]:
    """The versions of constraints.txt by their names in lower case."""
    lines = Path(ROOT / "constraints.txt").read_text("utf-8").splitlines()
    return dict(line.lower().split("==") for line in lines if not line.startswith("#"))


def test_every_requirement_has_a_lowest_version_that_constraints_reach():
    reached = constraints()
    for name, lowest in floors(PROJECT).items():
        if name == "trackio":  # no part of what the tests are run with
            continue
        assert numbers(reached[name]) >= numbers(lowest), name


def test_the_lowest_torch_is_the_tested_one():
    assert numbers(constraints()["torch"])[:2] == numbers(floors(PROJECT)["torch"])


@pytest.mark.parametrize("requirement", ["numpy", "numpy<2", "numpy>=1.26,<2", "numpy ~= 1.26"])
def test_a_requirement_without_a_plain_lowest_version_is_refused(requirement):
    with pytest.raises(ValueError, match="expected name>=version"):
        floors({"project": {"dependencies": [requirement], "optional-dependencies": {}}})


def test_versions_that_are_left_out_change_no_lowest_version():
    project = {"dependencies": ["numpy>=1.26,!=2.0.0,!=2.1.0"], "optional-dependencies": {}}
    assert floors({"project": project}) == {"numpy": "1.26"}


def test_a_package_with_two_lowest_versions_is_refused():
    project = {"dependencies": ["numpy>=1.26"], "optional-dependencies": {"dev": ["palate[x]", "numpy>=2.0"]}}
    with pytest.raises(ValueError, match="numpy has two lowest versions"):
        floors({"project": project})


def test_the_python_that_is_required_is_the_one_that_is_checked():
    assert PROJECT["project"]["requires-python"] == ">=3.11"
    assert PROJECT["tool"]["ruff"]["target-version"] == "py311"
    assert PROJECT["tool"]["pyright"]["pythonVersion"] == "3.11"
    assert "Python 3.11 or newer" in (ROOT / "Makefile").read_text("utf-8")
