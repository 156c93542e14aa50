import errno
import importlib.util
import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from palate import __version__
from palate.cli import main as cli
from palate.cli.dispatch import Command, dispatch
from palate.core.errors import ConfigError, PalateError

HEAVY = {"torch", "diffusers", "transformers", "datasets", "pyarrow", "matplotlib", "scipy", "numpy", "rich", "PIL"}


def palate(*argv: str, **kwargs) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "palate", *argv], capture_output=True, text=True, **kwargs)


@pytest.fixture
def failing(monkeypatch):
    """A function that makes `palate demo` raise the given error."""

    def fail_with(error: BaseException) -> None:
        def run(argv):
            raise error

        monkeypatch.setitem(cli.COMMANDS, "demo", Command("", run))

    return fail_with


def test_help_lists_the_stages_in_the_order_of_the_loop(capsys):
    assert cli.main(["--help"]) == 0
    listed = re.findall(r"^  (\w+)  ", capsys.readouterr().out, flags=re.MULTILINE)
    stages = [
        "generate",
        "collect",
        "score",
        "filter",
        "caption",
        "prefer",
        "reward",
        "align",
        "evaluate",
        "models",
        "scorers",
        "export",
        "cache",
        "demo",
        "completion",
    ]
    assert listed == stages


def test_no_command_at_all_shows_the_help(capsys):
    assert cli.main([]) == 0
    assert capsys.readouterr().out.startswith("usage: palate COMMAND")


def test_the_version_is_printed(capsys):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"palate {__version__}\n"


def test_an_unknown_command_is_told_with_the_nearest(capsys):
    assert cli.main(["algin", "dpo"]) == 2
    printed = capsys.readouterr()
    assert printed.err == "palate: unknown command 'algin'; did you mean 'align'? (`palate --help` lists them)\n"
    assert printed.out == ""


@pytest.mark.parametrize("name", cli.MODULES)
def test_every_listed_command_has_its_module_with_a_description(name):
    module, _ = cli.MODULES[name]
    assert importlib.util.find_spec(module), f"{module} does not exist"
    loaded = importlib.import_module(module)
    assert callable(loaded.run)
    assert loaded.DESCRIPTION.strip()


def test_every_module_of_a_command_is_listed():
    files = {path.stem for path in Path(cli.__file__).parent.glob("*.py")}
    assert files - {"__init__", "main", "dispatch", "reference"} == set(cli.MODULES)


@pytest.mark.parametrize("words", [(), *((name,) for name in cli.MODULES)], ids=" ".join)
def test_help_imports_nothing_heavy(words):
    ran = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "palate", *words, "--help"], capture_output=True, text=True
    )
    imported = set(re.findall(r"\| +(\w+)$", ran.stderr, flags=re.MULTILINE))
    assert ran.returncode == 0
    assert "palate" in imported
    assert not imported & HEAVY


def test_help_answers_in_under_half_a_second():
    """Of computing, in the best of ten runs: what else the machine does at the time does not count."""

    def seconds() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        palate("--help", check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert any(seconds() < 0.5 for _ in range(10))


def test_what_the_user_can_mend_is_one_line_without_a_traceback(capsys, failing):
    failing(PalateError("no prompts in a.txt; write one a line"))
    assert cli.main(["demo"]) == 2
    assert capsys.readouterr().err == "palate: no prompts in a.txt; write one a line\n"


def test_the_traceback_can_be_asked_for(failing, monkeypatch):
    monkeypatch.setenv("PALATE_DEBUG", "1")
    failing(PalateError("x"))
    with pytest.raises(PalateError):
        cli.main(["demo"])


def test_an_error_of_the_system_that_nobody_foresaw_is_explained_too(capsys, failing):
    failing(OSError(errno.ENOSPC, "No space left on device", "/data/a.png"))
    assert cli.main(["demo"]) == 2
    assert "cannot run palate demo: /data/a.png: No space left on device; free" in capsys.readouterr().err


def test_a_bug_keeps_its_traceback(failing):
    failing(KeyError("x"))
    with pytest.raises(KeyError):
        cli.main(["demo"])


def test_an_interrupted_run_says_how_to_go_on(capsys, failing):
    failing(KeyboardInterrupt())
    assert cli.main(["demo"]) == 130
    assert capsys.readouterr().err == "\npalate: interrupted; run the same command again to go on from here\n"


def test_a_reader_that_leaves_early_is_no_error():
    reading, writing = os.pipe()
    os.close(reading)
    ran = subprocess.run([sys.executable, "-m", "palate", "--help"], stdout=writing, stderr=subprocess.PIPE, text=True)
    os.close(writing)
    assert ran.stderr == ""


def test_subcommands_are_listed_and_found(capsys):
    commands = {"dpo": Command("by preferences", lambda argv: len(argv))}
    assert dispatch("palate align", "Trains.", commands, ["--help"]) == 0
    assert "usage: palate align COMMAND [flags]\n\nTrains.\n\n  dpo  by preferences\n" in capsys.readouterr().out
    assert dispatch("palate align", "Trains.", commands, ["dpo", "--a", "b"]) == 2
    with pytest.raises(ConfigError, match=r"unknown command 'dop'; did you mean 'dpo'\? \(`palate align --help`"):
        dispatch("palate align", "Trains.", commands, ["dop"])


def test_damage_beside_the_pixels_of_a_picture_is_not_remarked_on(tmp_path, capsys):
    """Pillow would warn, without a file's name."""
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 1, "a description that is cut"
    (tmp_path / "images").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "images" / "a.jpg", exif=exif.tobytes()[:-20])
    words = ["--images", str(tmp_path / "images"), "--scorer", "image:brightness", "--out", str(tmp_path / "run")]
    assert cli.main(["score", *words]) == 0
    assert "Warning" not in capsys.readouterr().err
