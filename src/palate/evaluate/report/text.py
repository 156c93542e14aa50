"""How the report writes numbers."""

from __future__ import annotations

import math

from palate.core.statistics import Estimate

UNKNOWN = "n/a"
MINUS = "\N{MINUS SIGN}"


def percent(x: float) -> str:
    """0.682 -> 68.2%"""
    return f"{x * 100:.1f}%" if math.isfinite(x) else UNKNOWN


def number(x: float) -> str:
    """Three significant figures, a true minus sign."""
    return f"{x:#.3g}".rstrip(".").replace("-", MINUS) if math.isfinite(x) else UNKNOWN


def points(x: float) -> str:
    """0.272 -> +27.2: a difference of two rates, in percentage points."""
    return f"{x * 100:+.1f}".replace("-", MINUS) if math.isfinite(x) else UNKNOWN


def signed(x: float) -> str:
    """0.031 -> +0.0310"""
    return f"{x:+#.3g}".rstrip(".").replace("-", MINUS) if math.isfinite(x) else UNKNOWN


def interval(estimate: Estimate, write=percent) -> str:
    """The ends of an estimate's interval, `35.9 to 46.2%`; a unit is said once."""
    if not math.isfinite(estimate.low):
        return UNKNOWN
    low, high = write(estimate.low), write(estimate.high)
    return f"{low.rstrip('%')} to {high}"


def tick(x: float) -> str:
    """The shortest way to write a round number."""
    return f"{x:.4g}".replace("-", MINUS)
