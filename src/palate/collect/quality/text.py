"""How a study's numbers are written, in a terminal and on the owner's page."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from palate.core.statistics import Estimate

UNKNOWN = "n/a"
MINUS = "\N{MINUS SIGN}"


def decimals(x: float) -> str:
    """0.7297 -> 0.73, with a true minus sign."""
    return f"{x:.2f}".replace("-", MINUS) if math.isfinite(x) else UNKNOWN


def percent(x: float) -> str:
    """0.839 -> 84%"""
    return f"{100 * x:.0f}%" if math.isfinite(x) else UNKNOWN


def duration(x: float) -> str:
    """3.25 -> 3.2 s"""
    return f"{x:.1f} s" if math.isfinite(x) else UNKNOWN


def ends(found: Estimate, write: Callable[[float], str] = decimals) -> str:
    """The interval, `0.67 to 0.78`; a unit is said once."""
    if not math.isfinite(found.low) or not math.isfinite(found.high):
        return UNKNOWN
    return f"{write(found.low).rstrip('%')} to {write(found.high)}"


def counted(counts: Mapping[str, int]) -> str:
    """{"unsure": 2, "other": 1} -> unsure 2, other 1"""
    return ", ".join(f"{reason} {count}" for reason, count in counts.items())
