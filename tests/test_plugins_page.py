"""The examples of docs/plugins.md run as they are printed."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from PIL import Image

from palate.align.methods import method_config
from palate.align.methods.method import Measured
from palate.core.config import from_mapping
from palate.generate.prompts import load_prompts
from palate.score.load import load_scorer

PAGE = Path(__file__).parents[1] / "docs" / "plugins.md"


@pytest.fixture(autouse=True)
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The modules of the page, in the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    blocks = re.findall(r"```python\n# (\w+)\.py\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    assert [name for name, _ in blocks] == ["my_scorers", "my_prompts", "my_method"]
    for name, text in blocks:
        (tmp_path / f"{name}.py").write_text(text)
    yield
    for name, _ in blocks:
        sys.modules.pop(name, None)


def test_the_scorer_prefers_the_symmetric_image() -> None:
    left, plain = Image.new("RGB", (8, 8), "white"), Image.new("RGB", (8, 8), "white")
    left.paste("black", (0, 0, 4, 8))
    scorer = load_scorer("python:my_scorers:Symmetry")
    worse, better = scorer([left, plain], ["", ""]).tolist()
    assert worse < better == 0 and scorer.higher_is_better


def test_the_prompts_are_read() -> None:
    prompts = load_prompts("python:my_prompts:birds")
    assert prompts == ["a red wren", "a red rook", "a blue wren", "a blue rook"]


def test_the_method_computes_its_loss() -> None:
    import torch

    kind = method_config("python:my_method:PowerConfig")
    config = from_mapping(kind, {"model": "m", "preferences": "p", "out": "o", "power": 3.0})
    loss, _ = config.method().loss(Measured(torch.tensor([[2.0], [1.0]]), None, torch.zeros(2, 0)))
    assert loss.tolist() == [8.0, 1.0]
