"""`palate generate`."""

from __future__ import annotations

from collections.abc import Sequence

from palate.choose.best_of import BestOfConfig
from palate.core.config import parse

DESCRIPTION = (
    "Draws images for a set of prompts; the same seeds for every model, so that runs can be compared in pairs."
)


def run(argv: Sequence[str]) -> int:
    """Generates images and prints the path of their folder."""
    config = parse(BestOfConfig, argv, prog="palate generate", description=DESCRIPTION)

    from palate.choose.best_of import generate_best
    from palate.core.runs import RunFolder

    folder = generate_best(config)
    if (summary := RunFolder(folder).finished) is None:
        print(f"shard {config.shard} is in {folder}; the others are not finished yet")
        return 0
    chosen = f", each the best of {config.best_of} by {config.scorer}" if config.scorer else ""
    print(f"{summary['images']} images of {summary['prompts']} prompts are in {folder}{chosen}")
    print(f"next: palate score --images {folder} --scorer SCORER --out {folder}-scores")
    return 0
