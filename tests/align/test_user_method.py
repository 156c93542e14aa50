"""A user's own method trains like any other, and errors in it are reported before any work."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from palate.align.methods import method_config
from palate.cli.main import main
from palate.core.errors import InputError
from palate.core.runs import RunFolder, read_config

METHOD = '''
from dataclasses import dataclass

from palate.align.config import AlignConfig
from palate.align.methods.singles import Singles, singles


@dataclass(frozen=True, kw_only=True)
class SharpConfig(AlignConfig):
    """Fine-tunes on preferred images by a power of the error."""

    power: float = 2.0
    """Exponent of the error."""

    def method(self):
        return Sharp(self)


class Sharp(Singles):
    name = "sharp"
    learns_from = "images"

    def examples(self, feedback):
        return singles(feedback)

    def loss(self, measured):
        loss = measured.error.squeeze(1) ** self.config.power
        return loss, {}
'''


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Writes the user's module into the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))

    def write(text: str = METHOD) -> None:
        (tmp_path / "mine_method.py").write_text(text)
        sys.modules.pop("mine_method", None)

    yield write
    sys.modules.pop("mine_method", None)


@pytest.fixture
def flags(world, tmp_path: Path) -> list[str]:
    small = ["--steps", "2", "--batch", "2", "--resolution", "16", "--device", "cpu", "--cache", str(world["cache"])]
    model, pairs = str(world["eps"]), str(world["pairs"])
    return ["--model", model, "--preferences", pairs, "--out", str(tmp_path / "run"), *small]


def test_a_method_of_the_working_directory_trains(mine, flags, tmp_path: Path, capsys) -> None:
    mine()
    assert main(["align", "python:mine_method:SharpConfig", *flags, "--power", "1.5"]) == 0, capsys.readouterr().err
    assert (RunFolder(tmp_path / "run").finished or {})["method"] == "sharp"
    stored = read_config(tmp_path / "run") or {}
    assert (stored["stage"], stored["power"]) == ("align sharp", 1.5)
    assert (tmp_path / "run/model/pytorch_lora_weights.safetensors").is_file()
    mine(METHOD + "\n# another text\n")
    assert main(["align", "python:mine_method:SharpConfig", *flags, "--power", "1.5"]) == 2
    assert "inputs.method: " in capsys.readouterr().err


def test_flags_of_a_user_s_method_have_help_and_are_checked(mine, flags, capsys) -> None:
    mine()
    with pytest.raises(SystemExit):
        main(["align", "python:mine_method:SharpConfig", "--help"])
    page = capsys.readouterr().out
    assert "Fine-tunes on preferred images by a power of the error." in page and "--power" in page
    assert main(["align", "python:mine_method:SharpConfig", *flags, "--powr", "2"]) == 2
    assert "did you mean '--power'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("SharpConfig = 3", "is int, and must be a dataclass derived from palate.align.config.AlignConfig"),
        ("class SharpConfig: ...", "is SharpConfig, and must be a dataclass derived from"),
        (METHOD.replace("    def method(self):\n        return Sharp(self)\n", ""), r"lacks method\(\)"),
    ],
)
def test_a_class_that_is_not_a_method_s_configuration_is_refused(mine, text: str, said: str) -> None:
    mine(text)
    with pytest.raises(InputError, match=said):
        method_config("python:mine_method:SharpConfig")


def test_a_method_that_lacks_its_loss_is_named_before_any_work(mine, flags, tmp_path: Path, capsys) -> None:
    mine(METHOD[: METHOD.index("    def loss")])
    assert main(["align", "python:mine_method:SharpConfig", *flags]) == 2
    error = capsys.readouterr().err
    assert "python:mine_method:SharpConfig raised TypeError: Can't instantiate abstract class Sharp" in error
    assert "loss" in error and not (tmp_path / "run").exists()
