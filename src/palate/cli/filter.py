"""`palate filter`."""

from __future__ import annotations

from collections.abc import Sequence

from palate.core.config import parse
from palate.score.filter import FilterConfig

DESCRIPTION = "Keeps the images of a folder that score high enough, as a folder of their own."


def run(argv: Sequence[str]) -> int:
    """Filters and prints how many images are kept, and the range of their scores."""
    config = parse(FilterConfig, argv, prog="palate filter", description=DESCRIPTION)

    from palate.core.runs import RunFolder
    from palate.score.filter import filter_images

    folder = filter_images(config)
    of = RunFolder(folder).finished or {}
    print(f"{of['kept']} of {of['images']} images are kept in {folder}")
    print(f"their {of['column']} goes from {of['lowest']:.3f} to {of['highest']:.3f}")
    print(f"next: palate caption --images {folder} --captioner MODEL --out {folder}-captions")
    return 0
