import importlib
import shutil
import subprocess
from pathlib import Path

import pytest

from palate.cli.completion import NAMES, SHELLS, script
from palate.cli.main import every_command, main
from palate.core.config import configuration_of
from palate.core.flags import flags
from palate.core.plugins import Plugin

COMPLETE = """
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
_shtab_palate
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def scripts(tmp_path_factory) -> dict[str, Path]:
    """The script of each shell, in a file."""
    folder = tmp_path_factory.mktemp("completion")
    for shell in SHELLS:
        (folder / shell).write_text(script(shell), "utf-8")
    return {shell: folder / shell for shell in SHELLS}


@pytest.fixture
def completed(scripts, tmp_path):
    """What bash offers for the last of the words, in an empty folder."""

    def complete(*words: str) -> list[str]:
        bash = ["bash", "--norc", "-c", COMPLETE, "bash", str(scripts["bash"]), *words]
        ran = subprocess.run(bash, cwd=tmp_path, capture_output=True, text=True, check=True)
        assert not ran.stderr
        return ran.stdout.split()

    return complete


def leaves(commands, words=()):
    """The words of every command that has none below it, with the command."""
    for name, command in commands.items():
        yield from leaves(command.commands, (*words, name)) if command.commands else [((*words, name), command)]


@pytest.mark.parametrize("shell", SHELLS)
def test_the_shell_finds_no_mistake_in_its_script(scripts, shell):
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    ran = subprocess.run([shell, "-n", str(scripts[shell])], capture_output=True, text=True)
    assert (ran.returncode, ran.stderr) == (0, "")


@pytest.mark.parametrize("shell", SHELLS)
def test_the_command_prints_the_script(scripts, shell, capsys):
    assert main(["completion", shell]) == 0
    assert capsys.readouterr().out.strip() == scripts[shell].read_text("utf-8").strip()


def test_a_command_is_completed(completed):
    assert completed("palate", "al") == ["align"]
    assert completed("palate", "align", "dp") == ["dpo"]
    assert completed("palate", "reward", "train", "reg") == ["regression"]


def test_a_flag_is_completed(completed):
    assert completed("palate", "align", "dpo", "--la") == ["--latents", "--latents-dtype"]
    assert completed("palate", "align", "dpo", "--model", "tiny-sd", "--la") == ["--latents", "--latents-dtype"]


def test_flags_are_completed_after_a_list_of_values(completed):
    words = ["palate", "score", "--scorer", "teacher:utility", "image:contrast", "--im"]
    assert completed(*words) == ["--images"]
    assert completed("palate", "reward", "train", "discriminator", "--generated", "a", "b", "--re") == ["--real"]


def test_the_values_of_a_choice_are_completed(completed):
    assert completed("palate", "align", "dpo", "--latents", "") == ["cached", "streamed"]
    assert completed("palate", "align", "dpo", "--train", "l") == ["lora"]


def test_a_path_is_completed(completed, tmp_path):
    (tmp_path / "pictures").mkdir()
    assert completed("palate", "score", "--images", "pi") == ["pictures"]


def test_a_built_in_name_and_a_path_are_completed_where_both_are_taken(completed, tmp_path):
    (tmp_path / "tiny-folder").mkdir()
    assert completed("palate", "align", "dpo", "--model", "tiny-") == ["tiny-clip", "tiny-sd", "tiny-folder"]


def test_fish_completes_as_bash_does(scripts, tmp_path):
    if shutil.which("fish") is None:
        pytest.skip("fish is not installed")
    for words, offered in {
        "palate al": ["align"],
        "palate align dp": ["dpo"],
        "palate align dpo --la": ["--latents", "--latents-dtype"],
        "palate align dpo --model tiny-s": ["tiny-sd"],
    }.items():
        program = f"source {scripts['fish']}; complete -C '{words}'"
        ran = subprocess.run(["fish", "--no-config", "-c", program], cwd=tmp_path, capture_output=True, text=True)
        assert [line.split("\t")[0] for line in ran.stdout.splitlines()] == offered


@pytest.mark.parametrize("shell", SHELLS)
def test_every_flag_of_every_command_is_in_the_script(scripts, shell):
    written = scripts[shell].read_text("utf-8")
    for words, command in leaves(every_command()):
        if words[0] == "completion":
            continue
        config = configuration_of(command.run)
        assert config is not None, f"palate {' '.join(words)} reads no configuration"
        for flag in flags(config):
            assert (f"-l {flag[2:]}" if shell == "fish" else flag) in written


def test_every_field_with_built_in_names_is_of_a_command_and_every_kind_of_a_plugin():
    every = [flags(config) for _, command in leaves(every_command()) if (config := configuration_of(command.run))]
    fields = {flag.key for each in every for flag in each.values()}
    assert set(NAMES) <= fields
    assert set(NAMES.values()) <= set(Plugin.__dataclass_fields__)


def test_a_command_that_is_asked_for_its_configuration_does_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    demo = importlib.import_module("palate.cli.demo")
    config = configuration_of(demo.run)
    assert config is not None
    assert config.__name__ == "DemoConfig"
    assert not list(tmp_path.iterdir())


def test_completion_takes_no_flags(capsys):
    assert main(["completion", "bash", "--out", "x"]) == 2
    assert capsys.readouterr().err == "palate: completion bash takes no flags, got --out x\n"
