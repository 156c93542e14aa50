"""The table of scorers of docs/support.md: facts of the catalogue, and what the tests marked `shows` show here."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from palate.score.load import scorer_families

TESTS = ("tests/score",)
KINDS = ("formula", "package", "gradient", "weights", "weights of a part")
"""What a test may show of a family: `@pytest.mark.shows("hpsv2", "formula")`."""
TITLE = "# Supported scorers"
HEAD = f"""{TITLE}

Made by `python benchmarks/support.py scorers` from `palate scorers` and from the results of the tests, which run on
small networks with random weights unless the last column says otherwise. A cell is empty where no test ran.

- **formula**: the published definition, computed a second time in the test or by hand, gives the same numbers.
- **package**: the package that defines or publishes the scorer gives the same numbers.
- **differentiable**: scores have a gradient with respect to the image; *tested*: it is that of a small step, or there.
- **real weights**: a test of the last run computed with the weights that people use, from their packages or from files
  beside the repository; *in part*: with the released head on other features.

"""


class Shown:
    """A plug-in of pytest: by family and kind, whether each marked test passed; skipped ones are left out."""

    def __init__(self) -> None:
        self.marks: dict[str, list[tuple[str, str]]] = {}
        self.results: defaultdict[tuple[str, str], list[bool]] = defaultdict(list)

    def pytest_collection_modifyitems(self, items: Sequence[pytest.Item]) -> None:
        for item in items:
            found = [(mark.args[0], kind) for mark in item.iter_markers("shows") for kind in mark.args[1:]]
            if wrong := [each for each in found if each[0] not in scorer_families() or each[1] not in KINDS]:
                raise pytest.UsageError(f"{item.nodeid} shows {wrong[0]}, which is no scorer or no kind of {KINDS}")
            self.marks[item.nodeid] = found

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed or (report.when == "call" and report.passed):
            for each in self.marks[report.nodeid]:
                self.results[each].append(report.passed)


def scorers_section(root: Path) -> str:
    """The text of the section; runs the marked tests.

    Args:
        root: the folder of the repository.
    """
    shown = Shown()
    pytest.main([*(str(root / test) for test in TESTS), "-q", "-m", "shows", f"--rootdir={root}"], plugins=[shown])
    rows = ["| scorer | formula | package | differentiable | licence | real weights |", "|---|---|---|---|---|---|"]
    rows += [_row(name, shown.results) for name in sorted(scorer_families())]
    return HEAD + "\n".join(rows) + "\n"


def _row(name: str, results: Mapping[tuple[str, str], list[bool]]) -> str:
    family = scorer_families()[name]
    kind: Any = family.loader()
    facts = family.facts or kind.facts

    def cell(shows: str, yes: str = "yes") -> str:
        outcomes = results.get((name, shows), [])
        return "" if not outcomes else yes if all(outcomes) else "**fails**"

    gradient = {True: "yes", False: "no", None: "it depends"}[getattr(kind, "differentiable", None)]
    gradient += ", tested" if cell("gradient") == "yes" else cell("gradient")
    missing = [package for module, package in facts.needs.items() if find_spec(module) is None]
    weights = cell("weights") or cell("weights of a part", "in part")
    weights = weights or (f"{missing[0]} is not installed" if missing else "")
    return f"| `{name}` | {cell('formula')} | {cell('package')} | {gradient} | {facts.licence} | {weights} |"
