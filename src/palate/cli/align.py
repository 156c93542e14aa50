"""`palate align NAME`: one command a method, and `convert-beta`."""

from __future__ import annotations

import inspect
import json
from collections.abc import Collection, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from palate.align.beta import ConvertBetaConfig, convert_beta
from palate.align.methods import METHODS, method_config
from palate.cli.dispatch import Command, dispatch
from palate.core.config import given_fields, parse
from palate.core.user_code import explain_user_errors, is_user_code

if TYPE_CHECKING:
    from palate.align.config import AlignConfig
    from palate.align.methods.method import Method

DESCRIPTION = (
    "Trains a model on feedback, offline; docs/objectives.md compares the methods. "
    "`palate align python:<module>:<class>` trains by a method of your own (docs/plugins.md):"
)


def _align(name: str, argv: Sequence[str]) -> int:
    kind = method_config(name)
    config = parse(kind, argv, prog=f"palate align {name}", description=inspect.getdoc(kind) or "")
    with explain_user_errors(name) if is_user_code(name) else nullcontext():
        method = config.method()
    if config.preset:
        config, method = _with_preset(config, method, given_fields(kind, argv))
    if config.estimate or config.estimate_json:
        return _estimate(config, method)
    from palate.align.stage import align

    print(align(config, method) / "model")
    return 0


def _with_preset(config: AlignConfig, method: Method[Any], given: Collection[str]) -> tuple[AlignConfig, Method[Any]]:
    from palate.align.estimate.presets import preset_settings

    config = replace(config, **preset_settings(config, method, given))
    return config, config.method()


def _estimate(config: AlignConfig, method: Method[Any]) -> int:
    from palate.align.estimate.estimate import estimate_run
    from palate.align.estimate.report import estimate_table

    found = estimate_run(config, method)
    print(json.dumps(found.mapping()) if config.estimate_json else estimate_table(found, config))
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
