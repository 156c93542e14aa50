"""The formatting of numbers in reports."""

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
    """A function that writes numbers of one group, all with the same number of decimals.

    There are enough decimals that numbers which differ by a hundredth of the range look different: 3210.4 and 3211.6
    are not written as 3,210 and 3,212. Numbers from a million on, and below a ten-thousandth, have a power of ten. The
    minus sign is U+2212; numbers that are not finite are `UNKNOWN`.

    Args:
        numbers: the numbers of the group; those that are not finite are ignored.
        sign: whether to write a plus sign too.
        figures: the minimum of significant figures of the largest number.
    """
    finite = [float(x) for x in numbers if math.isfinite(x)] or [0.0]
    largest = max(map(abs, finite))
    spread = max(finite) - min(finite)
    decimals = figures - 1 - _power(largest)
    if spread > 1e-12 * largest:
        decimals = max(decimals, 1 - _power(spread))
    return _with_decimals(decimals, largest, "+" if sign else "")


def tick_writer(ticks: Sequence[float] | np.ndarray) -> Callable[[float], str]:
    """A function that writes equally spaced round numbers with as few decimals as distinguish them."""
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
    """A single number: 0.9 -> 0.900."""
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
    """The ends of an estimate's interval, `35.9 to 46.2%`; the unit is written once."""
    if not estimate.known:
        return UNKNOWN
    low, high = write(estimate.low), write(estimate.high)
    return f"{low.rstrip('%')} to {high}"


def count(n: int, one: str, more: str = "") -> str:
    """1 win, 2 wins; 1 loss, 0 losses."""
    return f"{n:,} {one if n == 1 else more or one + 's'}"
