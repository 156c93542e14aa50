"""The lowest versions that pyproject.toml permits, as constraints for pip: `python tests/floors.py > floors.txt`.

`make lowest` installs exactly these. They are read from pyproject.toml, so that there is no second list to keep.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
REQUIREMENT = re.compile(r"(?P<name>[\w.-]+)(\[[\w,-]+\])?>=(?P<version>[\w.]+)(,!=[\w.]+)*")


def requirements(pyproject: Mapping[str, Any]) -> list[str]:
    """Every requirement of the project and of its extras, each once; palate's own extras are left out."""
    project = pyproject["project"]
    every = [*project["dependencies"], *(each for extra in project["optional-dependencies"].values() for each in extra)]
    return [each for each in dict.fromkeys(every) if not each.startswith("palate[")]


def floors(pyproject: Mapping[str, Any]) -> dict[str, str]:
    """The lowest version of each package that is required.

    Raises:
        ValueError: a requirement has no lowest version, or a package has two.
    """
    found: dict[str, str] = {}
    for requirement in requirements(pyproject):
        if not (match := REQUIREMENT.fullmatch(requirement)):
            raise ValueError(f"expected name>=version, got {requirement!r}")
        if found.setdefault(match["name"], match["version"]) != match["version"]:
            raise ValueError(f"{match['name']} has two lowest versions")
    return found


if __name__ == "__main__":
    for name, version in floors(tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))).items():
        print(f"{name}=={version}")
