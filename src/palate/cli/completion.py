"""`palate completion bash`, `zsh` and `fish`: what a shell needs to complete commands, flags and their values.

shtab writes the script from an argparse parser, so one is made here of the same commands and configurations that
`palate` itself reads; it parses nothing.
"""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from palate import __version__
from palate.cli.dispatch import Command, dispatch
from palate.core.config import configuration_of
from palate.core.errors import ConfigError
from palate.core.flags import Flag, flags
from palate.core.plugins import plugins
from palate.core.values import boolean, repeated

DESCRIPTION = "Prints a script by which a shell completes commands, flags and their values; docs/configuration.md."
SHELLS = {
    "bash": "~/.local/share/bash-completion/completions/palate",
    "zsh": "~/.zfunc/_palate",
    "fish": "~/.config/fish/completions/palate.fish",
}
"""The shells, and where each looks for the script of one user."""

NAMES = {
    "model": "models",
    "base": "models",
    "aligned": "models",
    "backbone": "models",
    "preferences": "preferences",
    "prompts": "prompts",
    "captioner": "captioners",
    "judge": "judges",
}
"""The fields whose value may be a built-in name, and the kind of name; `palate.core.plugins.Plugin` has the kinds."""


def run(argv: Sequence[str]) -> int:
    """Runs `palate completion` on its arguments."""
    return dispatch("palate completion", DESCRIPTION, COMMANDS, argv)


def script(shell: str) -> str:
    """The script for a shell of `SHELLS`."""
    import shtab

    from palate.cli.main import every_command

    parser = ArgumentParser("palate")
    parser.add_argument("--version", "-V", action="version", version=__version__, help="print the version")
    _add_commands(parser, every_command())
    return shtab.complete(parser, shell)


def _print(shell: str, argv: Sequence[str]) -> int:
    if argv in (["--help"], ["-h"]):
        print(f"usage: palate completion {shell}\n\nPrints the script for {shell}, to be kept in {SHELLS[shell]}.")
        return 0
    if argv:
        raise ConfigError(f"completion {shell} takes no flags, got {' '.join(argv)}")
    print(script(shell))
    return 0


def _add_commands(parser: ArgumentParser, commands: Mapping[str, Command]) -> None:
    below = parser.add_subparsers()
    for name, command in commands.items():
        help = command.help.replace("%", "%%")
        child = below.add_parser(name, help=help, description=help)
        if config := configuration_of(command.run):
            for flag_name, flag in flags(config).items():
                _add_flag(child, flag_name, flag)
        if command.commands:
            _add_commands(child, command.commands)


def _add_flag(parser: ArgumentParser, name: str, flag: Flag) -> None:
    help = flag.help.replace("%", "%%")
    if boolean(flag.kind):
        parser.add_argument(name, "--no-" + name[2:], action="store_true", help=help)
        return
    members = list(_members(flag.kind))
    names = () if any(get_origin(each) is Literal for each in members) else _built_in(flag.key)
    files = Path in members or bool(names)
    # A list of files is completed as one value: after several, shtab would complete files where a flag begins.
    action = parser.add_argument(name, help=help, nargs="*" if repeated(flag.kind) and not files else None)
    if files:
        action.complete = _files_or(names)  # pyright: ignore[reportAttributeAccessIssue]
    else:
        action.choices = [str(option) for member in members for option in get_args(member)] or None


def _members(kind: Any) -> Iterator[Any]:
    """The kinds of value that a field takes, without unions and lists: `Path` and None of `list[Path] | None`."""
    if get_origin(kind) is Literal or not get_args(kind):
        yield kind
    else:
        for each in get_args(kind):
            yield from _members(each)


def _built_in(key: str) -> Sequence[str]:
    return sorted(getattr(plugins(), NAMES[key])) if key in NAMES else ()


def _files_or(names: Sequence[str]) -> dict[str, Any]:
    """How shtab is to complete a path, or one of the names."""
    import shtab

    if not names:
        return shtab.FILE
    words = " ".join(names)
    function = "_palate_files_or_" + "_".join(name.replace("-", "_") for name in names)
    bodies = {
        "bash": f'compgen -W "{words}" -- "$1"; compgen -f -- "$1"',
        "zsh": f"_alternative 'names:built in:({words})' 'files:file:_files'",
        "fish": f"printf '%s\\n' {words}; __fish_complete_path (commandline -ct)",
    }
    around = {
        "bash": f"{function}() {{ %s; }}",
        "zsh": f"{function}() {{ %s }}",
        "fish": f"function {function}; %s; end",
    }
    called: dict[str, Any] = {"bash": function, "zsh": function, "fish": f"({function})"}
    return called | {"preamble": {shell: around[shell] % body for shell, body in bodies.items()}}


COMMANDS = {shell: Command(f"the script for {shell}", partial(_print, shell)) for shell in SHELLS}
