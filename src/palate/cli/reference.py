"""The command-line reference, docs/cli.md: `python -m palate.cli.reference > docs/cli.md`."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator, Mapping

from palate.cli.dispatch import Command
from palate.cli.main import every_command, main

_HEAD = """# Command line

Every flag of every command, as `--help` prints it; made by `python -m palate.cli.reference`.
Configuration files, run folders and interruptions: see [configuration](configuration.md).
"""


def reference_page() -> str:
    """The page as Markdown: the help of `palate`, of each command and of each subcommand."""
    sections = [_HEAD, *(_section(words) for words in _commands())]
    return "\n".join(sections)


def _commands() -> Iterator[tuple[str, ...]]:
    yield ()
    yield from _below((), every_command())


def _below(words: tuple[str, ...], commands: Mapping[str, Command]) -> Iterator[tuple[str, ...]]:
    for name, command in commands.items():
        yield *words, name
        yield from _below((*words, name), command.commands)


def _section(words: tuple[str, ...]) -> str:
    title = " ".join(["palate", *words])
    return f"{'#' * max(2, len(words) + 1)} {title}\n\n```text\n{_help(words)}```\n"


def _help(words: tuple[str, ...]) -> str:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
        main([*words, "--help"])
    return printed.getvalue()


if __name__ == "__main__":
    print(reference_page(), end="")
