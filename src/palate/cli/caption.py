"""`palate caption`."""

from __future__ import annotations

from collections.abc import Sequence

from palate.caption.stage import CaptionConfig
from palate.core.config import parse

DESCRIPTION = "Writes a caption for every image of a folder, for instance to generate from the same words again."


def run(argv: Sequence[str]) -> int:
    """Captions and prints how many images have one."""
    config = parse(CaptionConfig, argv, prog="palate caption", description=DESCRIPTION)

    from palate.caption.stage import caption
    from palate.core.runs import RunFolder

    folder = caption(config)
    summary = RunFolder(folder).finished or {}
    print(f"{summary['captions']} of {summary['images']} images have a caption in {folder}")
    print(f"next: palate generate --model MODEL --prompts {folder} --out {folder}-generated")
    return 0
