"""What the owner's page shows, placed and worded; the template only lays it out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from palate.collect.config import StudyConfig
from palate.collect.quality.raters import ALWAYS, APART, FEW, GOLD, HASTY, LEANING, LEAST, SKIPPING, steady
from palate.collect.quality.study import Quality
from palate.collect.quality.systems import Standing
from palate.collect.quality.text import counted, decimals, duration, ends, percent
from palate.core.statistics import Estimate

SHOWN = 40
"""Flagged items on the page, the most often flagged; the numbers of all of them are in the JSON."""


@dataclass(frozen=True)
class Mark:
    """An estimate on an axis, in per cent from its left: the dot, and the ends of the interval where there are any."""

    at: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Row:
    """A system on the page; `rates` are its win rates against each of the others, and how many comparisons."""

    name: str
    value: Estimate
    mark: Mark | None
    rates: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Table:
    """The systems by one question.

    Attributes:
        measure: what the values are.
        zero: where the axis has its reference line, if it has one.
        settled: see `Standing`.
    """

    question: str
    measure: str
    rows: tuple[Row, ...]
    zero: float | None
    settled: bool


def view(found: Quality, config: StudyConfig) -> dict[str, Any]:
    """The template's values."""
    wording, n = config.wording(), config.per_screen
    words = {"decimals": decimals, "percent": percent, "duration": duration, "ends": ends, "counted": counted}
    return {
        **words,
        "found": found,
        "wording": wording,
        "alphas": [mark(each.alpha, 0.0, 1.0) for each in found.agreement],
        "tables": [_table(each) for each in found.standings],
        "flagged": found.flagged[:SHOWN],
        "more_flagged": max(0, len(found.flagged) - SHOWN),
        "first": {1: "", 2: "Left"}.get(n, "First position"),
        "meanings": meanings(config),
    }


def mark(found: Estimate, low: float, high: float) -> Mark | None:
    """Places an estimate on an axis from low to high; None where it has no value."""
    if not math.isfinite(found.value):
        return None

    def place(x: float) -> float | None:
        return round(100 * (min(max(x, low), high) - low) / (high - low), 2) if math.isfinite(x) else None

    return Mark(place(found.value) or 0.0, place(found.low), place(found.high))


def _table(standing: Standing) -> Table:
    values = standing.stars or standing.strengths
    low, high = (1.0, 5.0) if standing.stars else _range(values)
    zero = None if standing.stars else round(100 * (0.0 - low) / (high - low), 2)
    rows = []
    for i, name in enumerate(standing.systems):
        rates = tuple((percent(rate), n) for rate, n in zip(standing.win_rates[i], standing.comparisons[i]))
        rows.append(Row(name, values[i], mark(values[i], low, high), rates))
    measure = "Mean stars" if standing.stars else "Strength"
    return Table(standing.question, measure, tuple(rows), zero, bool(standing.stars) or standing.settled)


def _range(values: Sequence[Estimate]) -> tuple[float, float]:
    """An axis about zero that holds all intervals, and their rounded ends."""
    numbers = [x for each in values for x in (each.value, each.low, each.high) if math.isfinite(x)]
    most = 1.05 * max((abs(x) for x in numbers), default=0.0)
    return (-most, most) if most else (-1.0, 1.0)


def meanings(config: StudyConfig) -> tuple[tuple[str, str], ...]:
    """What each word means, by the thresholds of `raters`."""
    same = steady(config.task, config.per_screen)
    return (
        ("always left", f"{ALWAYS:.0%} or more of {LEAST} answers or more, ties aside, chose one side or position."),
        (
            "leans to left",
            f"the whole interval of a side’s share is more than {100 * LEANING:.0f} points above chance.",
        ),
        ("fast", f"half of {LEAST} answers or more took less than {HASTY:.0f} s: too little to read a prompt."),
        ("fails gold", f"of {FEW} or more, the whole interval is below {GOLD:.0%} right."),
        (
            "contradicts own answers",
            f"of {FEW} mirrored repeats or more, the whole interval is below {same:.0%} the same.",
        ),
        (
            "disagrees with the others",
            f"the whole interval is {100 * APART:.0f} points below the average of all raters.",
        ),
        ("skips often", f"more than {SKIPPING:.0%} of {LEAST} screens or more were skipped or flagged."),
    )
