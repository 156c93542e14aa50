"""The built wheel, as `pip install palate` installs it: it works away from the repository, with all its data."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from palate import __version__

ROOT = Path(__file__).parents[1]


def digests(package: Path) -> dict[str, str]:
    """SHA-256 of every file of the package by its path in it."""
    files = [path for path in package.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    return {path.relative_to(package).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """A folder with the sdist, and the wheel that was built from it."""
    folder = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    ran = subprocess.run(build, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return folder


@pytest.fixture(scope="module")
def installed(built, tmp_path_factory) -> Path:
    """A folder to put on the path, into which the wheel is installed; dependencies come from this environment."""
    folder = tmp_path_factory.mktemp("site")
    wheel = built / f"palate-{__version__}-py3-none-any.whl"
    pip = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--target", str(folder), str(wheel)]
    subprocess.run(pip, check=True, capture_output=True)
    return folder


@pytest.fixture
def elsewhere(installed, tmp_path):
    """Runs a command in another folder, where only the installed wheel is palate."""

    def run(*command: str) -> str:
        env = os.environ | {"PYTHONPATH": str(installed)}
        ran = subprocess.run([*command], cwd=tmp_path, env=env, capture_output=True, text=True)
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    return run


def test_the_wheel_holds_every_file_of_the_package_byte_for_byte(installed):
    assert digests(installed / "palate") == digests(ROOT / "src" / "palate")


def test_the_sdist_holds_what_the_tests_need(built):
    with tarfile.open(built / f"palate-{__version__}.tar.gz") as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"LICENSE", "README.md", "Makefile", "constraints.txt", "tests/conftest.py"} <= names


def test_the_installed_command_answers(installed, elsewhere):
    assert elsewhere(str(installed / "bin" / "palate"), "--help").startswith("usage: palate COMMAND")
    assert elsewhere(sys.executable, "-m", "palate", "--version") == f"palate {__version__}\n"


def test_every_weight_file_opens_from_another_folder(installed, elsewhere):
    program = """
from importlib.resources import files
from safetensors import safe_open
import palate
print(palate.__file__)
for path in sorted((files("palate") / "weights").rglob("*.safetensors")):
    with safe_open(path, "numpy") as tensors:
        print(path.parent.name, len(list(tensors.keys())) > 0)
"""
    where, *models = elsewhere(sys.executable, "-c", program).splitlines()
    assert Path(where).is_relative_to(installed)
    folders = {path.parent.name for path in (ROOT / "src/palate/weights").rglob("*.safetensors")}
    assert {tuple(line.split()) for line in models} == {(folder, "True") for folder in folders}
