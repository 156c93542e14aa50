"""`palate evaluate`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from palate.core.config import parse
from palate.evaluate.config import EvaluateConfig

DESCRIPTION = "Lets two models draw the same prompts from the same seeds, has judges compare them, and writes a report."


def run(argv: Sequence[str]) -> int:
    """Evaluates and prints the main results and the path of the report."""
    config = parse(EvaluateConfig, argv, prog="palate evaluate", description=DESCRIPTION)

    from palate.evaluate.stage import evaluate

    print_findings(evaluate(config))
    return 0


def print_findings(folder: Path) -> None:
    """Prints the main results of a finished evaluation, and the path of the report."""
    from palate.core.runs import RunFolder

    summary = RunFolder(folder).finished or {}
    for name in ("faithful", "appeal", "score"):
        if name in summary:
            base, aligned = (_told(summary[name][side]) for side in ("base", "aligned"))
            print(f"{name + ':':12}{base} -> {aligned}, difference {_told(summary[name]['difference'])}")
    print(f"{'win rate:':12}{_told(summary['win_rate'])} by the {summary['judge']}")
    print(f"{'diversity:':12}{_told(summary['diversity']['ratio'])} of the base's")
    print(f"{'report:':12}{folder / 'report.html'}")


def _told(estimate: dict[str, float | None]) -> str:
    value, low, high = (estimate[key] for key in ("value", "low", "high"))
    if value is None:
        return "n/a"
    return f"{value:.3f}" if low is None or high is None else f"{value:.3f} [{low:.3f}, {high:.3f}]"
