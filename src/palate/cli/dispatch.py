"""Running the command that a word names: for `palate` itself, and for commands with subcommands."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from palate.core.errors import ConfigError, nearest


class Command(NamedTuple):
    """A command: one line of help, the function that it runs, and its subcommands."""

    help: str
    run: Callable[[Sequence[str]], int]
    commands: Mapping[str, Command] = MappingProxyType({})


def dispatch(prog: str, description: str, commands: Mapping[str, Command], argv: Sequence[str]) -> int:
    """Runs the command that `argv` begins with on the rest; without one, or for `--help`, lists the commands.

    Raises:
        ConfigError: there is no such command; the message has the nearest.
    """
    if not argv or argv[0] in ("--help", "-h"):
        print(_listing(prog, description, commands))
        return 0
    if argv[0] not in commands:
        raise ConfigError(f"unknown command '{argv[0]}'{nearest(argv[0], commands)} (`{prog} --help` lists them)")
    return commands[argv[0]].run(argv[1:])


def _listing(prog: str, description: str, commands: Mapping[str, Command]) -> str:
    width = max(map(len, commands)) + 2
    lines = [f"  {name:{width}}{command.help}" for name, command in commands.items()]
    usage = f"usage: {prog} COMMAND [flags]"
    return "\n".join([usage, "", description, "", *lines, "", f"`{prog} COMMAND --help` lists a command's flags."])
