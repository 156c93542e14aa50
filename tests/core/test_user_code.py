"""The user's own code is found from the working directory, and whatever is wrong with it is said in one line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from palate.cli.main import main
from palate.core.errors import InputError
from palate.core.user_code import load_user_code, make_user_object, source_digest


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest):
    """Writes a module of a name of its own into the working directory; returns the name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)

    def write(text: str) -> str:
        name = f"mine_{abs(hash(request.node.nodeid)) % 10**8}"
        (tmp_path / f"{name}.py").write_text(text)
        return name

    yield write
    for name in set(sys.modules) - before:
        if name.startswith("mine_"):
            del sys.modules[name]


def test_a_module_of_the_working_directory_is_found_and_its_neighbours_too(module, tmp_path: Path) -> None:
    (tmp_path / "mine_helper.py").write_text("VALUE = 3\n")
    make = "    @staticmethod\n    def make():\n        import mine_helper\n        return mine_helper.VALUE\n"
    name = module("class Outer:\n" + make)
    assert make_user_object(f"python:{name}:Outer.make") == 3


def test_a_file_beside_the_user_hides_no_installed_package(module, tmp_path: Path) -> None:
    """A `json.py` or `datasets.py` in the working directory is found by its own name alone, and by nobody else."""
    name = module("VALUE = 1\n")
    (tmp_path / "this.py").write_text("raise RuntimeError('the wrong one')\n")
    assert load_user_code(f"python:{name}:VALUE") == 1
    program = f"""
import os
os.chdir({str(tmp_path)!r})
from palate.core.user_code import load_user_code
load_user_code("python:{name}:VALUE")
import this
"""
    env = os.environ | {"PYTHONSAFEPATH": "1"}
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=env)
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize("spec", ["python:", "python:a", "python:a:", "python::b", "python:a b:c", "python:a:b:c"])
def test_a_spec_that_names_no_module_and_name_is_refused(spec: str) -> None:
    with pytest.raises(InputError, match="write python:<module>:<name>"):
        load_user_code(spec)


def test_a_module_that_is_not_there_is_refused_with_the_nearest_file(module) -> None:
    name = module("VALUE = 1\n")
    with pytest.raises(InputError, match=f"there is no module '{name}s' in .*; did you mean '{name}'"):
        load_user_code(f"python:{name}s:VALUE")
    with pytest.raises(InputError, match=r"there is no module 'nowhere\.at\.all'"):
        load_user_code("python:nowhere.at.all:VALUE")


def test_a_name_that_the_module_lacks_is_refused_with_the_nearest_and_the_file(module, tmp_path: Path) -> None:
    name = module("def make_scorer():\n    return 1\n")
    complaint = rf"{name} \({tmp_path}/{name}\.py\) has no 'make_score'; did you mean 'make_scorer'"
    with pytest.raises(InputError, match=complaint):
        load_user_code(f"python:{name}:make_score")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("raise ValueError('no weights here')", "raised ValueError: no weights here"),
        ("import a_package_that_nobody_has", "raised ModuleNotFoundError: No module named 'a_package_that_nobody_has'"),
        ("def broken(:", "raised SyntaxError: "),
        ("raise SystemExit(3)", "raised SystemExit: 3"),
    ],
)
def test_what_a_module_raises_is_said_and_not_shown_as_a_traceback(module, capsys, text: str, said: str) -> None:
    name = module(text + "\n")
    assert main(["score", "--images", ".", "--scorer", f"python:{name}:make", "--out", "run"]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"palate: python:{name}:make {said}")
    assert "Traceback" not in error


def test_what_a_factory_raises_is_said(module) -> None:
    name = module("def make():\n    raise KeyError('threshold')\n")
    with pytest.raises(InputError, match=f"python:{name}:make raised KeyError: 'threshold'"):
        make_user_object(f"python:{name}:make")


def test_a_factory_gets_as_many_arguments_as_it_takes(module) -> None:
    name = module(
        "def none():\n    return ()\n"
        "def one(a):\n    return (a,)\n"
        "def every(*a):\n    return a\n"
        "class Made:\n    def __init__(self, a):\n        self.a = a\n"
        "VALUE = 4\n"
    )
    assert make_user_object(f"python:{name}:none", "cpu") == ()
    assert make_user_object(f"python:{name}:one", "cpu") == ("cpu",)
    assert make_user_object(f"python:{name}:every", "cpu") == ("cpu",)
    assert make_user_object(f"python:{name}:Made", "cpu").a == "cpu"
    with pytest.raises(InputError, match="is int, and must be a function or class"):
        make_user_object(f"python:{name}:VALUE")


def test_the_digest_is_of_the_text_of_the_module(module, tmp_path: Path) -> None:
    name = module("VALUE = 1\n")
    load_user_code(f"python:{name}:VALUE")
    before = source_digest(f"python:{name}:VALUE")
    (tmp_path / f"{name}.py").write_text("VALUE = 2\n")
    assert source_digest(f"python:{name}:VALUE") != before
