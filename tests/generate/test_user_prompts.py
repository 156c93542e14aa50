from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from palate.core.errors import InputError
from palate.generate.prompts import load_prompts


@pytest.fixture
def mine(monkeypatch: pytest.MonkeyPatch):
    """A user's module with one name in it; returns the spec."""

    def make(value: Any) -> str:
        module = ModuleType("mine_prompts")
        module.prompts = value  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "mine_prompts", module)
        return "python:mine_prompts:prompts"

    return make


@pytest.mark.parametrize("made", [["a wren ", "", "a rook", "a wren"], lambda: iter(["a wren", "a rook"])])
def test_a_list_or_what_a_function_returns_are_prompts_each_once(mine, made: Any) -> None:
    assert load_prompts(mine(made)) == ["a wren", "a rook"]
    assert load_prompts(mine(made), 1) == ["a wren"]


@pytest.mark.parametrize(
    ("made", "said"),
    [
        ("a wren", "gives str, and must give a list of texts"),
        (3, "gives int, and must give a list of texts"),
        ([1], "gives 1 as prompt 0, and must give only texts"),
        ([" "], "gives no prompt; it must give at least one"),
        (lambda: [1][3], "raised IndexError: list index out of range"),
        (lambda: (1 / 0 for _ in range(1)), "raised ZeroDivisionError: division by zero"),
    ],
)
def test_anything_but_a_list_of_texts_is_refused(mine, made: Any, said: str) -> None:
    with pytest.raises(InputError, match=f"python:mine_prompts:prompts {said}"):
        load_prompts(mine(made))


def test_prompts_of_a_file_in_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "mine_birds.py").write_text("PROMPTS = ['a wren']\n")
    assert load_prompts("python:mine_birds:PROMPTS") == ["a wren"]
    monkeypatch.delitem(sys.modules, "mine_birds")
