"""`palate demo`."""

from __future__ import annotations

from collections.abc import Sequence

from palate.core.config import parse
from palate.demo.config import DemoConfig

DESCRIPTION = "Runs the whole loop on the built-in tiny model and writes a report, in minutes, without a GPU."


def run(argv: Sequence[str]) -> int:
    """Runs the demonstration and prints the results and the path of the report."""
    config = parse(DemoConfig, argv, prog="palate demo", description=DESCRIPTION)

    from palate.cli.evaluate import print_findings
    from palate.demo.loop import demo

    folder = demo(config)
    print_findings(folder)
    print(f"next: open {folder / 'report.html'}, or try your own: palate generate --help")
    return 0
