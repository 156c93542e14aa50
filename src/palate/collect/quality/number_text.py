"""The formatting of a study's numbers in a terminal and on the owner's page."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from palate.core.statistics import ENOUGH, Estimate

UNKNOWN = "unknown"
NONE = "–"
"""The text where there is nothing to compute a share of."""
MINUS = "\N{MINUS SIGN}"
SMALL = 20
"""Below this number, a share is written as a count: a percentage would look more precise than it is."""
FEW = f"fewer than {({6: 'six'}).get(ENOUGH, ENOUGH)} prompts"
ALIKE = "the prompts differ too little"


def decimals(x: float) -> str:
    """0.7297 -> 0.73, with a true minus sign."""
    return f"{x:.2f}".replace("-", MINUS) if math.isfinite(x) else UNKNOWN


def whole_percent(x: float) -> str:
    """0.839 -> 84%"""
    return f"{100 * x:.0f}%" if math.isfinite(x) else UNKNOWN


def short_duration(x: float) -> str:
    """3.25 -> 3.2 s"""
    return f"{x:.1f} s" if math.isfinite(x) else NONE


def count_of(count: int, what: str) -> str:
    """A count and its noun: 1, vote -> 1 vote; 1200, vote -> 1,200 votes."""
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


def listed(names: Sequence[str]) -> str:
    """base, tuned -> base and tuned"""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def share_of(value: float, n: int, what: str = "screen") -> str:
    """A share of n things: 0.84 of 120 -> 84% of 120. With fewer things than `SMALL`, a count: 0.5 of 2 -> 1 of 2.

    A tie counts as a half: 0.75 of 2 -> 1½ of 2. A share that is not a count of halves, such as the mean of the shares
    of two screens, is a percentage of so many `what`: 33% on 2 screens.
    """
    if not n or not math.isfinite(value):
        return NONE
    if n >= SMALL:
        return f"{whole_percent(value)} of {n:,}"
    halves = 2 * value * n
    if abs(halves - round(halves)) > 1e-6:
        return f"{whole_percent(value)} on {count_of(n, what)}"
    whole, half = divmod(round(halves), 2)
    return f"{whole or '' if half else whole}{'½' if half else ''} of {n}"


def interval_ends(found: Estimate, write: Callable[[float], str] = decimals) -> str:
    """The interval, `0.67 to 0.78`; a unit is written only once, at the end."""
    if not math.isfinite(found.low) or not math.isfinite(found.high):
        return UNKNOWN
    return f"{write(found.low).rstrip('%')} to {write(found.high)}"


def interval_or_reason(found: Estimate, prompts: int, write: Callable[[float], str] = decimals) -> str:
    """The interval of an estimate from so many prompts, or why it is not known: `unknown: fewer than six prompts`."""
    written = interval_ends(found, write)
    return written if written != UNKNOWN else f"{UNKNOWN}: {FEW if prompts < ENOUGH else ALIKE}"


def counted(counts: Mapping[str, int]) -> str:
    """{"unsure": 2, "other": 1} -> unsure 2, other 1"""
    return ", ".join(f"{reason} {count}" for reason, count in counts.items())
