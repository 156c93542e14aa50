"""`palate scorers`."""

from __future__ import annotations

from collections.abc import Sequence

from palate.core.config import parse
from palate.score.catalogue import ScorersConfig, list_scorers

DESCRIPTION = "Lists the scorers: what each measures, the range of its values, licence, size, and what to install."


def run(argv: Sequence[str]) -> int:
    """Prints the scorers."""
    print(*list_scorers(parse(ScorersConfig, argv, prog="palate scorers", description=DESCRIPTION)), sep="\n")
    return 0
