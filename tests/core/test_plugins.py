from __future__ import annotations

import sys
from types import ModuleType

import pytest

from palate.cli.main import main
from palate.core import plugins as module
from palate.core.plugins import Plugin, plugins
from palate.generate.prompts import load_prompts


@pytest.fixture
def other(monkeypatch: pytest.MonkeyPatch):
    """A second plug-in beside the tiny world; returns the function that makes it bring something."""

    def bring(**names) -> None:
        made = ModuleType("another_plugin")
        made.PLUGIN = Plugin(**names)  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "another_plugin", made)
        monkeypatch.setattr(module, "MODULES", (*module.MODULES, "another_plugin"))
        plugins.cache_clear()

    yield bring
    plugins.cache_clear()


def test_what_two_plug_ins_bring_is_found_by_name(other) -> None:
    other(prompts={"birds": lambda: ["a wren", "a rook"]})
    assert load_prompts("birds") == ["a wren", "a rook"]
    assert len(load_prompts("unseen")) > 1


def test_one_name_of_two_plug_ins_is_refused(other) -> None:
    other(prompts={"unseen": list})
    with pytest.raises(ValueError, match="two plug-ins define the name 'unseen'"):
        plugins()


def test_asking_for_names_imports_nothing_heavy() -> None:
    import subprocess

    program = "import sys; from palate.core.plugins import plugins; plugins(); print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout == "False\n"


def test_the_command_line_knows_what_a_plug_in_brings(other, capsys) -> None:
    other(prompts={"birds": lambda: ["a wren"]})
    assert main(["generate", "--model", "tiny-sd", "--prompts", "bird", "--out", "run"]) == 2
    assert "did you mean 'birds'" in capsys.readouterr().err
