"""`palate`: finds the command, runs it, and prints errors that the user can fix as one line on stderr."""

from __future__ import annotations

import importlib
import os
import sys
import warnings
from collections.abc import Sequence

from palate import __version__
from palate.cli.dispatch import Command, dispatch
from palate.core.bitsandbytes_check import quiet_bitsandbytes
from palate.core.errors import PalateError
from palate.core.files import explain_os_errors

DESCRIPTION = "Teaches an image generator taste. The commands are the stages of the loop, in order:"


def _lazy(module: str, help: str) -> Command:
    """A command whose module is imported when the command is run."""
    return Command(help, lambda argv: importlib.import_module(module).run(argv))


MODULES = {
    "generate": ("palate.cli.generate", "draw images for a set of prompts"),
    "collect": ("palate.cli.collect", "let people compare images in a browser"),
    "score": ("palate.cli.score", "let judges and reward models score images"),
    "filter": ("palate.cli.filter", "keep the images that score high enough"),
    "caption": ("palate.cli.caption", "write a caption for every image"),
    "prefer": ("palate.cli.prefer", "make ranked sets from scores, simulated raters or published data"),
    "reward": ("palate.cli.reward", "learn rewards from feedback, and test them"),
    "align": ("palate.cli.align", "train a model on preferences"),
    "evaluate": ("palate.cli.evaluate", "compare two models on the same seeds, and report"),
    "models": ("palate.cli.models", "list the model families that can be trained, and what each needs"),
    "scorers": ("palate.cli.scorers", "list the scorers, and what each measures and needs"),
    "export": ("palate.cli.export", "write an aligned model for other programs, or upload it"),
    "cache": ("palate.cli.cache", "list and delete what runs keep for later runs"),
    "demo": ("palate.cli.demo", "run the whole loop on the built-in tiny model"),
    "completion": ("palate.cli.completion", "print a shell's completion of these commands and their flags"),
}
COMMANDS = {name: _lazy(module, help) for name, (module, help) in MODULES.items()}


def every_command() -> dict[str, Command]:
    """`COMMANDS` with the commands below each, for which the module of each is imported."""
    below = {name: getattr(importlib.import_module(module), "COMMANDS", {}) for name, (module, _) in MODULES.items()}
    return {name: command._replace(commands=below[name]) for name, command in COMMANDS.items()}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns its exit code, 2 for an error that the user can fix, 130 when interrupted.

    `PALATE_DEBUG=1` shows the traceback of such an error.
    """
    argv = sys.argv[1:] if argv is None else argv
    # Pillow warns about damage outside the pixels without naming the file; images that it cannot read are refused.
    warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
    quiet_bitsandbytes()
    try:
        if argv and argv[0] in ("--version", "-V"):
            print(f"palate {__version__}")
            return 0
        with explain_os_errors(" ".join(["run", "palate", *argv[:1]])):
            code = dispatch("palate", DESCRIPTION, COMMANDS, argv)
            sys.stdout.flush()
            return code
    except PalateError as error:
        if os.environ.get("PALATE_DEBUG") == "1":
            raise
        print(f"palate: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader of our output ended, as in `palate --help | head -1`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # so that the flush at exit does not fail
        return 1
    except KeyboardInterrupt:
        print("\npalate: interrupted; run the same command again to go on from here", file=sys.stderr)
        return 130
