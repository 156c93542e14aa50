"""`palate models`."""

from __future__ import annotations

from collections.abc import Sequence

from palate.core.config import parse
from palate.models.supported import ModelsConfig, list_models

DESCRIPTION = "Lists the model families that can be trained, what each needs, and why some other pipelines cannot be."


def run(argv: Sequence[str]) -> int:
    """Prints the families."""
    print(*list_models(parse(ModelsConfig, argv, prog="palate models", description=DESCRIPTION)), sep="\n")
    return 0
