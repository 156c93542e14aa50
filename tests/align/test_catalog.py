"""A method is one file beside its objective, and one line that names it."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from trained import lines, run

from palate.align.methods import METHODS, method_config
from palate.cli.align import COMMANDS

PACKAGE = Path(__file__).parents[2] / "src" / "palate"
READERS = {"DPOConfig": {"align/methods/cpo.py", "demo/loop.py"}}
"""Files that may name a method's configuration besides its own file and the list."""


@pytest.mark.parametrize("name", METHODS)
def test_a_method_is_named_in_its_own_file_and_in_one_line_elsewhere(name):
    module, _, kind = METHODS[name].partition(":")
    own = f"{module.removeprefix('palate.').replace('.', '/')}.py"
    found: dict[str, int] = {}
    for path in PACKAGE.rglob("*.py"):
        if count := len(re.findall(rf"\b{kind}\b", path.read_text())):
            found[str(path.relative_to(PACKAGE))] = count
    assert found.pop("align/methods/__init__.py") == 1
    assert set(found) == {own} | READERS.get(kind, set())


@pytest.mark.parametrize("name", METHODS)
def test_a_method_says_what_it_does_in_a_line_and_by_what_name_it_is_called(name):
    kind = method_config(name)
    assert kind.about and kind.__doc__ and COMMANDS[name].help == kind.about
    method = kind(model="none", preferences="none", out=Path("none")).method()
    assert method.name == name and method.learns_from in ("rankings", "grades", "images")


SQUARED = '''
from dataclasses import dataclass
from typing import ClassVar

from palate.align.methods.method import Measured
from palate.align.methods.pairs import Pairs, PreferenceConfig


@dataclass(frozen=True, kw_only=True)
class SquaredConfig(PreferenceConfig):
    """A margin's squared distance from one."""

    about: ClassVar[str] = "pull margins to one"

    def method(self):
        return Squared(self)


class Squared(Pairs[SquaredConfig]):
    name = "squared"

    def loss(self, measured: Measured):
        error_w, error_l = measured.error.unbind(1)
        loss = (self.config.beta * (error_l - error_w) / 2 - 1).square()
        return loss, {"accuracy": (error_l > error_w).float()}
'''


def test_one_file_and_one_line_make_a_method(config_of, tmp_path, monkeypatch):
    (tmp_path / "squared_method.py").write_text(SQUARED)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(METHODS, "squared", "squared_method:SquaredConfig")
    folder = run(config_of(method_config("squared"), beta=1.0, steps=2))
    assert lines(folder)[-1]["accuracy"] >= 0 and (folder / "config.yaml").read_text().startswith(
        "stage: align squared"
    )
    sys.modules.pop("squared_method")
