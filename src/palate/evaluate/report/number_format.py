"""How the report writes numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from palate.core.statistics import Estimate

if TYPE_CHECKING:
    import numpy as np

UNKNOWN = "n/a"
MINUS = "\N{MINUS SIGN}"


def writer(numbers: Iterable[float], sign: bool = False, figures: int = 3) -> Callable[[float], str]:
    """A way to write numbers that belong together, all with the same decimals.

    More decimals where their range needs them, so that what differs by a hundredth of it looks different: 3210.4 and
    3211.6 are written as such, not as 3,210 and 3,212. From a million on, and below a ten-thousandth, with a power of
    ten. A true minus sign; `UNKNOWN` for what is not finite.

    Args:
        numbers: those that will be written; the ones that are not finite do not matter.
        sign: whether to write a plus sign too.
        figures: significant ones of the largest, at least.
    """
    finite = [float(x) for x in numbers if math.isfinite(x)] or [0.0]
    largest = max(map(abs, finite))
    spread = max(finite) - min(finite)
    decimals = figures - 1 - _power(largest)
    if spread > 1e-12 * largest:
        decimals = max(decimals, 1 - _power(spread))
    return _with_decimals(decimals, largest, "+" if sign else "")


def tick_writer(ticks: Sequence[float] | np.ndarray) -> Callable[[float], str]:
    """A way to write equally spaced round numbers, with as many decimals as tell them apart."""
    return _with_decimals(-_power(1.0001 * float(ticks[1] - ticks[0])), float(max(map(abs, ticks))), "")


def _with_decimals(decimals: int, largest: float, plus: str) -> Callable[[float], str]:
    power = _power(largest) if largest >= 1e6 or 0 < largest < 1e-4 else 0

    def write(x: float) -> str:
        if not math.isfinite(x):
            return UNKNOWN
        digits = f"{x / 10.0**power:{plus},.{max(0, decimals + power)}f}"
        return (f"{digits}e{power}" if power and x else digits).replace("-", MINUS)

    return write


def _power(x: float) -> int:
    """The power of ten of a number above zero; 0 for zero."""
    return math.floor(math.log10(x)) if x > 0 else 0


def single_number(x: float) -> str:
    """One number, by its own: 0.9 -> 0.900."""
    return writer([x])(x)


def signed(x: float) -> str:
    """0.031 -> +0.0310"""
    return writer([x], sign=True)(x)


def percent(x: float) -> str:
    """0.682 -> 68.2%"""
    return f"{x * 100:.1f}%" if math.isfinite(x) else UNKNOWN


def points(x: float) -> str:
    """0.272 -> +27.2: a difference of two rates, in percentage points."""
    return f"{x * 100:+.1f}".replace("-", MINUS) if math.isfinite(x) else UNKNOWN


def all_numbers(*estimates: Estimate) -> list[float]:
    """All the numbers of estimates."""
    return [end for each in estimates for end in (each.value, each.low, each.high)]


def interval_text(estimate: Estimate, write: Callable[[float], str] = percent) -> str:
    """The ends of an estimate's interval, `35.9 to 46.2%`; a unit is said once."""
    if not estimate.known:
        return UNKNOWN
    low, high = write(estimate.low), write(estimate.high)
    return f"{low.rstrip('%')} to {high}"


def count(n: int, one: str, more: str = "") -> str:
    """1 win, 2 wins; 1 loss, 0 losses."""
    return f"{n:,} {one if n == 1 else more or one + 's'}"
