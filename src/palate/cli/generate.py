"""`palate generate`."""

from __future__ import annotations

from collections.abc import Sequence

from palate.choose.systems import SystemsConfig
from palate.core.config import parse

DESCRIPTION = (
    "Draws images for a set of prompts; the same seeds for every model, so that runs can be compared in pairs."
)


def run(argv: Sequence[str]) -> int:
    """Generates images and prints the path of their folder."""
    config = parse(SystemsConfig, argv, prog="palate generate", description=DESCRIPTION)

    from palate.choose.systems import generate_systems
    from palate.core.runs import RunFolder

    folder = generate_systems(config)
    if (summary := RunFolder(folder).finished) is None:
        print(f"shard {config.shard} is in {folder}; the others are not finished yet")
        return 0
    chosen = f", each the best of {config.best_of} by {config.scorer}" if config.scorer else ""
    by = f" by {len(summary['systems'])} systems ({', '.join(summary['systems'])})" if "systems" in summary else ""
    print(f"{summary['images']} images of {summary['prompts']} prompts{by} are in {folder}{chosen}")
    print(f"next: palate score --images {folder} --scorer SCORER --out {folder}-scores")
    return 0
