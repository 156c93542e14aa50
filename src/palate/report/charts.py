"""Geometry of the report's charts in per cent of their frame; the template draws them in the page's colours."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from palate.core.statistics import Estimate
from palate.report.number_format import tick_writer, writer

POINTS = 240  # a curve has no more points than this; longer runs are averaged in bins
FEW = 50  # a line with fewer points is shown whole
TREND = 15  # the trend is a running mean over a fifteenth of the curve
ALIKE = 1e-9  # a range that is smaller than this part of the numbers counts as zero


@dataclass(frozen=True)
class StripMark:
    """An estimate on a strip: the positions of its dot and of the ends of its interval, from 0 to 100."""

    kind: str
    at: float
    low: float
    high: float


@dataclass(frozen=True)
class Strip:
    """Estimates on one axis; `reference` is a line to compare with."""

    marks: tuple[StripMark, ...]
    reference: float | None
    ends: tuple[str, str]


def strip(
    estimates: Mapping[str, Estimate],
    low: float = 0.0,
    high: float = 1.0,
    reference: float | None = None,
    ends: tuple[str, str] = ("0%", "100%"),
) -> Strip:
    """Places estimates, named by their kind (`base`, `aligned`), on an axis from low to high."""

    def place(x: float, otherwise: float = 0.0) -> float:
        return round(float(np.clip((x if np.isfinite(x) else otherwise) - low, 0, high - low) / (high - low) * 100), 2)

    marks = tuple(
        StripMark(kind, place(e.value), place(e.low, e.value), place(e.high, e.value))
        for kind, e in estimates.items()
        if np.isfinite(e.value)
    )
    return Strip(marks, None if reference is None else place(reference), ends)


def axis(numbers: Iterable[float], margin: float) -> tuple[float, float]:
    """The ends of an axis with all finite numbers, with a share of their range as margin; never an empty range."""
    finite = [x for x in numbers if np.isfinite(x)] or [0.0]
    low, high = min(finite), max(finite)
    if high - low <= ALIKE * max(abs(low), abs(high)):
        pad = max(abs(low), abs(high)) / 10 or 1.0
    else:
        pad = margin * (high - low)
    return low - pad, high + pad


@dataclass(frozen=True)
class Curve:
    """What one chart draws.

    Attributes:
        lines: by label, a metric, or two whose difference is drawn.
        reference: the level of a model that has learned nothing.
        bands: by label, the metrics of the ends of an interval around a line.
    """

    title: str
    note: str
    lines: Mapping[str, tuple[str, ...]]
    reference: float | None = None
    bands: Mapping[str, tuple[str, str]] = field(default_factory=dict)


CURVES = (
    Curve("Implicit accuracy", "how often the implicit reward ranks a pair rightly", {"accuracy": ("accuracy",)}, 0.5),
    Curve("Implicit reward margin", "winner's reward minus loser's", {"margin": ("margin",)}, 0.0),
    Curve("Loss", "what training lowers; DPO begins at log 2 = 0.693", {"loss": ("loss",)}),
    Curve(
        "Denoising error minus the reference's",
        "below zero, the model denoises these images better than the base does",
        {"winner": ("error_winner", "error_ref_winner"), "loser": ("error_loser", "error_ref_loser")},
        0.0,
    ),
)


@dataclass(frozen=True)
class Line:
    """Points `x,y x,y ...` of what was logged and of its running mean, or one alone; `last` is its final level.

    `band` has the points of an interval around the line, its lower ends and then its upper ends backwards.
    """

    label: str
    points: str
    trend: str
    last: str
    band: str = ""


@dataclass(frozen=True)
class LineChart:
    """A drawn curve: tick marks are (per cent from the left or the top, label)."""

    curve: Curve
    lines: tuple[Line, ...]
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]
    reference: float | None


def line_chart(curve: Curve, metrics: Sequence[Mapping[str, Any]]) -> LineChart | None:
    """Draws one chart from rows of `metrics.jsonl`; None when no row has any of its metrics."""
    series = {label: s for label, keys in curve.lines.items() if len(s := _series(metrics, keys))}
    if not series:
        return None
    steps = np.concatenate([each[:, 0] for each in series.values()])
    left, right = axis(steps, 0.0)
    bands = {k: [_series(metrics, (key,)) for key in curve.bands[k]] for k in series if k in curve.bands}
    ends = [end for low, high in bands.values() for end in (*low[:, 1], *high[:, 1])]
    usual = [level for each in series.values() for level in _usual_levels(each[:, 1])]
    levels = np.array([*usual, *ends, *([] if curve.reference is None else [curve.reference])])
    alone = any(len(s) == 1 for s in series.values())  # a single dot needs a margin
    y_ticks = _ticks(*axis(levels, 0.1 * alone))
    bottom, top = y_ticks[0], y_ticks[-1]
    write = tick_writer(y_ticks)

    def across(step: np.ndarray) -> np.ndarray:
        return (step - left) / (right - left) * 100

    def down(y: np.ndarray) -> np.ndarray:
        return 100 - np.clip((y - bottom) / (top - bottom), 0, 1) * 100

    def points(step: np.ndarray, y: np.ndarray) -> str:
        return " ".join(f"{a:.2f},{b:.2f}" for a, b in zip(across(step), down(y)))

    def band(label: str) -> str:
        low, high = bands.get(label, (np.empty((0, 2)),) * 2)
        return f"{points(*low.T)} {points(*high[::-1].T)}" if len(low) == len(high) > 1 else ""

    trends = {label: _running_mean(s[:, 1]) for label, s in series.items()}
    lasts = writer([*y_ticks, *(trend[-1] for trend in trends.values())])
    return LineChart(
        curve,
        tuple(
            Line(k, points(*s.T), points(s[:, 0], trends[k]), lasts(trends[k][-1]), band(k)) for k, s in series.items()
        ),
        tuple((float(across(x)), f"{x:,.0f}") for x in _step_ticks(steps) if left <= x <= right),
        tuple((float(down(y)), write(y)) for y in y_ticks),
        None if curve.reference is None else float(down(np.array(curve.reference))),
    )


def _usual_levels(y: np.ndarray) -> np.ndarray:
    """The ends of a line's levels; of a long line without the extremes, so that none flattens the chart."""
    return np.quantile(y, [0.005, 0.995] if len(y) > FEW else [0.0, 1.0])


def _series(metrics: Sequence[Mapping[str, Any]], keys: Sequence[str]) -> np.ndarray:
    """[M, 2] of step and value, averaged in bins to at most POINTS rows."""
    whole = [m for m in metrics if all(m.get(key) is not None for key in ("step", *keys))]
    rows = np.array([(m["step"], m[keys[0]] - sum(m[key] for key in keys[1:])) for m in whole], float).reshape(-1, 2)
    rows = rows[np.isfinite(rows).all(1)]
    if len(rows) <= POINTS:
        return rows
    return np.stack([part.mean(0) for part in np.array_split(rows, POINTS)])


def _running_mean(y: np.ndarray) -> np.ndarray:
    """The centred running mean, over fewer neighbours at the ends."""
    window = np.ones(2 * (len(y) // (2 * TREND)) + 1)
    return np.convolve(y, window, "same") / np.convolve(np.ones_like(y), window, "same")


def _ticks(low: float, high: float) -> np.ndarray:
    """Round numbers that cover [low, high]."""
    from matplotlib.ticker import MaxNLocator

    return np.asarray(MaxNLocator(5, steps=[1, 2, 5, 10]).tick_values(low, high))


def _step_ticks(steps: np.ndarray) -> np.ndarray:
    """Round whole numbers among the steps; the step itself where there is one."""
    from matplotlib.ticker import MaxNLocator

    if steps.min() == steps.max():
        return steps[:1]
    return np.asarray(MaxNLocator(5, steps=[1, 2, 5, 10], integer=True).tick_values(steps.min(), steps.max()))
