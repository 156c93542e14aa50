"""`palate align NAME`: one command a method, and `convert-beta`."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial

from palate.align.beta import ConvertBetaConfig, convert_beta
from palate.align.methods import METHODS, method_config
from palate.cli.dispatch import Command, dispatch
from palate.core.config import parse
from palate.core.user_code import explain_user_errors, is_user_code

DESCRIPTION = (
    "Trains a model on feedback, offline; docs/objectives.md compares the methods. "
    "`palate align python:<module>:<class>` trains by a method of your own (docs/plugins.md):"
)


def _align(name: str, argv: Sequence[str]) -> int:
    kind = method_config(name)
    config = parse(kind, argv, prog=f"palate align {name}", description=inspect.getdoc(kind) or "")
    with explain_user_errors(name) if is_user_code(name) else nullcontext():
        method = config.method()
    from palate.align.stage import align

    print(align(config, method) / "model")
    return 0


def _convert_beta(argv: Sequence[str]) -> int:
    config = parse(ConvertBetaConfig, argv, prog="palate align convert-beta", description=CONVERT)
    print(f"{convert_beta(config):g}")
    return 0


CONVERT = "Turns another code's beta into Palate's: errors are means, log-ratios have the half."
COMMANDS = {name: Command(method_config(name).about, partial(_align, name)) for name in METHODS}
COMMANDS["convert-beta"] = Command("turn another code's beta into Palate's", _convert_beta)


def run(argv: Sequence[str]) -> int:
    """Runs `palate align` on its arguments."""
    if argv and is_user_code(argv[0]):
        return _align(argv[0], argv[1:])
    return dispatch("palate align", DESCRIPTION, COMMANDS, argv)
