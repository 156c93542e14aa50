"""The numbers and texts of the owner's page; the template only does the layout."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from palate.collect.config import StudyConfig
from palate.collect.new import MADE_SMALLER, SEVERAL_SIZES
from palate.collect.quality.number_text import (
    MINUS,
    NONE,
    count_of,
    counted,
    decimals,
    interval_ends,
    interval_or_reason,
    share_of,
    short_duration,
    whole_percent,
)
from palate.collect.quality.rater_quality import ALWAYS, APART, FEW, GOLD, HASTY, LEANING, LEAST, SKIPPING, steady
from palate.collect.quality.study_quality import Agreement, Quality
from palate.collect.quality.summary import doubts, shortage, spread, without_alpha
from palate.collect.quality.systems import Standing
from palate.core.statistics import Estimate

SHOWN = 40
"""The maximum number of flagged items on the page, the most often flagged first; the JSON has all of them."""


@dataclass(frozen=True)
class Tick:
    """A label under an axis: its text, its position in per cent from the left, and SVG's `text-anchor`."""

    at: float
    label: str
    anchor: str


@dataclass(frozen=True)
class Axis:
    """A scale from `low` to `high`.

    Attributes:
        zero: the position of the reference line in per cent from the left, if there is one.
        ticks: its labels.
    """

    low: float
    high: float
    zero: float | None
    ticks: tuple[Tick, ...]

    def place(self, x: float) -> float:
        """Per cent from the left."""
        return round(100 * (min(max(x, self.low), self.high) - self.low) / (self.high - self.low), 2)


@dataclass(frozen=True)
class AxisMark:
    """An estimate on an axis, in per cent from its left: the dot, and the ends of the interval where there are any."""

    at: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Opinion:
    """The agreement of raters on one question; `mark` is alpha on its axis, `sentence` names it with its interval."""

    question: str
    alpha: str
    sentence: str
    mark: AxisMark | None
    majority: str
    spread: str


@dataclass(frozen=True)
class SystemRow:
    """A system on the page; `rates` are its win rates against each other system."""

    name: str
    value: str
    spread: str
    mark: AxisMark | None
    rates: tuple[str, ...]


@dataclass(frozen=True)
class SystemTable:
    """The systems by one question, without rows where nothing is known; `doubts` are sentences on uncertainty."""

    question: str
    measure: str
    rows: tuple[SystemRow, ...]
    axis: Axis
    doubts: tuple[str, ...]


def dashboard_values(found: Quality, config: StudyConfig, made: Mapping[str, Any]) -> dict[str, Any]:
    """The template's values; `made` has the counts of `palate collect new`."""
    words = {
        "percent": whole_percent,
        "duration": short_duration,
        "ends": interval_ends,
        "counted": counted,
        "share_of": share_of,
    }
    alphas = alpha_axis([each.alpha for each in found.agreement])
    return {
        **words,
        "number": count_of,
        "found": found,
        "shortage": shortage(found.progress) if found.progress.out_of_reach else "",
        "sizes": _sizes(made),
        "wording": config.wording(),
        "alphas": alphas,
        "opinions": [_opinion(each, alphas) for each in found.agreement],
        "tables": [_table(each) for each in found.standings],
        "flagged": found.flagged[:SHOWN],
        "more_flagged": max(0, len(found.flagged) - SHOWN),
        "first": {1: "", 2: "Left"}.get(config.per_screen, "First position"),
        "unit": {"pairwise": "screen", "best": "screen", "ranking": "screen", "rating": "image"}[config.task],
        "meanings": meanings(config),
    }


def _sizes(made: Mapping[str, Any]) -> str:
    """A sentence about images of several sizes, where there are any."""
    if smaller := made.get(MADE_SMALLER):
        were = f"{count_of(smaller, 'image')} {'was' if smaller == 1 else 'were'}"
        return f"{were} made smaller, to the smallest size on the same screen, so that no size identifies a system."
    if mixed := made.get(SEVERAL_SIZES):
        have = f"{count_of(mixed, 'item')} {'has' if mixed == 1 else 'have'}"
        return f"{have} images of several sizes, shown unchanged: raters may recognise systems by the sizes."
    return ""


def alpha_axis(alphas: Sequence[Estimate]) -> Axis:
    """An axis from 0, which is chance, to 1; if a value or end is below 0, it begins at a lower multiple of a half."""
    least = min((x for each in alphas for x in (each.value, each.low) if math.isfinite(x)), default=0.0)
    low = min(0.0, math.floor(2 * least) / 2)
    zero = 100 * -low / (1 - low)
    chance = Tick(zero, "0 chance", "middle" if low else "start")
    return Axis(
        low,
        1.0,
        zero,
        (*([Tick(0, _round(low), "start")] if low else []), chance, Tick(100, "1 full agreement", "end")),
    )


def strength_axis(values: Sequence[Estimate]) -> Axis:
    """An axis with zero in the middle, and round ends, that contains all values and intervals."""
    numbers = [abs(x) for each in values for x in (each.value, each.low, each.high) if math.isfinite(x)]
    most = _round_up(max(numbers, default=0.0)) or 1.0
    ticks = (Tick(0, _round(-most), "start"), Tick(50, "0", "middle"), Tick(100, _round(most), "end"))
    return Axis(-most, most, 50.0, ticks)


STARS = Axis(1.0, 5.0, None, (Tick(0, "1", "start"), Tick(50, "3", "middle"), Tick(100, "5", "end")))


def _round_up(x: float) -> float:
    """The next of 1, 2 and 5 times a power of ten; 0 stays 0."""
    if x <= 0:
        return 0.0
    power = 10.0 ** math.floor(math.log10(x))
    return next(step * power for step in (1, 2, 5, 10) if x <= step * power * (1 + 1e-9))


def _round(x: float) -> str:
    """A round number as short as it can be: -0.5, with a true minus sign, and 2000."""
    return f"{x:.10f}".rstrip("0").rstrip(".").replace("-", MINUS)


def axis_mark(found: Estimate, axis: Axis) -> AxisMark | None:
    """Places an estimate on an axis; None where it has no value."""
    if not math.isfinite(found.value):
        return None
    low, high = (axis.place(x) if math.isfinite(x) else None for x in (found.low, found.high))
    return AxisMark(axis.place(found.value), low, high)


def _opinion(found: Agreement, axis: Axis) -> Opinion:
    alpha, majority = found.alpha, found.majority
    known = math.isfinite(alpha.value)
    more = f"; 95% interval {interval_or_reason(alpha, found.prompts)}" if known else f": {without_alpha(found)}"
    share = f"{share_of(majority.value, majority.n)} {'verdict' if majority.n == 1 else 'verdicts'}"
    return Opinion(
        found.question,
        decimals(alpha.value) if known else "unknown",
        f"Krippendorff’s alpha, {found.distance}{more}",
        axis_mark(alpha, axis),
        share if majority.n else "",
        interval_or_reason(majority, found.judged, whole_percent),
    )


def _table(standing: Standing) -> SystemTable:
    values = standing.stars or standing.strengths
    axis = STARS if standing.stars else strength_axis(values)
    rows = []
    for i, (name, value) in enumerate(zip(standing.systems, values)):
        rates = tuple(share_of(rate, n) for rate, n in zip(standing.win_rates[i], standing.comparisons[i]))
        known = math.isfinite(value.value)
        texts = (decimals(value.value), spread(standing, value)) if known else (NONE, NONE)
        rows.append(SystemRow(name, *texts, axis_mark(value, axis), rates))
    measure = "Mean stars" if standing.stars else "Strength"
    any_known = any(each.n for each in values)
    return SystemTable(standing.question, measure, tuple(rows) if any_known else (), axis, tuple(doubts(standing)))


def meanings(config: StudyConfig) -> tuple[tuple[str, str], ...]:
    """The words about raters, each with its meaning, by the thresholds of `rater_quality`."""
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
