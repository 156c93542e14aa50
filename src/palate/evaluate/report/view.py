"""What the report says, computed and worded; the template only lays it out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from palate.core import statistics
from palate.core.statistics import Estimate
from palate.evaluate.compare import Change, Comparison, Paired, Verdict, change, gap
from palate.evaluate.judge import HEADLINES, RATES, find_judge
from palate.evaluate.report.charts import Strip, strip
from palate.evaluate.report.text import interval, number, percent, points, signed

LABELS = {
    "faithful": "Follows the prompt",
    "appeal": "Visual appeal",
    "score": "Score",
    "count": "Count",
    "colour": "Colour",
    "shape": "Shape",
    "background": "Background",
    "unsafe": "Unsafe content",
    "win_rate": "Win rate",
}
LOWER_IS_BETTER = ("unsafe",)
TONES = {1: "good", -1: "bad", 0: "open"}


@dataclass(frozen=True)
class Card:
    """A headline number. `tone` is good, bad or open (the interval covers "no change"); `word` says it in words."""

    title: str
    value: str
    ends: str
    tone: str
    word: str
    details: tuple[str, ...]
    strip: Strip


@dataclass(frozen=True)
class Row:
    """A line of a table: a measure before and after."""

    label: str
    base: str
    aligned: str
    difference: str
    ends: str
    tone: str
    strip: Strip
    n: int


@dataclass(frozen=True)
class JudgeRow:
    """A finding by two judges, each (gain, its interval), and the gap; bad where the other judge was flattered."""

    judge: str
    label: str
    judged: tuple[str, str]
    other: tuple[str, str]
    gap: tuple[str, str]
    tone: str


def sign(estimate: Estimate, zero: float = 0.0) -> int:
    """1 or -1 where the whole interval lies above or below `zero`, else 0."""
    return int(estimate.low > zero) - int(estimate.high < zero)


def cards(comparison: Comparison) -> list[Card]:
    """The headline numbers: what the judge measures, who wins, and whether diversity was kept."""
    judged, seed = comparison.judged, comparison.seed
    measured = [_measure_card(m, change(m, judged.measures[m], seed)) for m in HEADLINES if m in judged.measures]
    return [*measured[:1], _win_card(judged, seed), *measured[1:], _diversity_card(comparison)]


def _measure_card(measure: str, found: Change) -> Card:
    value, by = _writers(measure)
    unit = " points" if measure in RATES else ""
    direction = sign(found.difference)
    return Card(
        LABELS[measure],
        value(found.aligned.value),
        interval(found.aligned, value),
        TONES[direction],
        {1: "clear gain", -1: "clear loss", 0: "no clear change"}[direction],
        (
            f"base {value(found.base.value)} ({interval(found.base, value)})",
            f"{by(found.difference.value)}{unit} ({interval(found.difference, by)})",
        ),
        _change_strip(measure, found),
    )


def _win_card(judged: Verdict, seed: int) -> Card:
    outcomes = judged.outcomes
    rate, bootstrap = statistics.rate(outcomes), statistics.mean(outcomes, seed=seed)
    direction = sign(rate, 0.5)
    wins, ties, losses = (int((outcomes == worth).sum()) for worth in (1, 0.5, 0))
    return Card(
        "Win rate over the base",
        percent(rate.value),
        interval(rate),
        TONES[direction],
        {1: "above chance", -1: "below chance", 0: "no clear winner"}[direction],
        (f"{wins} wins, {ties} ties, {losses} losses", f"bootstrap {interval(bootstrap)}"),
        strip({"aligned": rate}, reference=0.5),
    )


def _diversity_card(comparison: Comparison) -> Card:
    before, after = (statistics.mean(x) for x in (comparison.diversity.base, comparison.diversity.aligned))
    kept = statistics.ratio(comparison.diversity.base, comparison.diversity.aligned, seed=comparison.seed)
    direction = sign(kept, 1.0)
    return Card(
        "Diversity kept",
        percent(kept.value),
        interval(kept),
        TONES[direction],
        {1: "more varied", -1: "less varied", 0: "as varied as the base"}[direction],
        ("RMS distance between seeds", f"{number(before.value)} → {number(after.value)}"),
        strip({"aligned": kept}, 0.0, 1.5, reference=1.0, ends=("0%", "150%")),
    )


def measure_rows(comparison: Comparison) -> list[Row]:
    """One row for each thing that the judge reads off an image."""
    measures = comparison.judged.measures
    return [_row(LABELS.get(m, m), m, change(m, values, comparison.seed)) for m, values in measures.items()]


def request_tables(comparison: Comparison) -> dict[str, list[Row]]:
    """Faithfulness by what the prompt asks for; empty for a judge that does not say, or cannot read the prompts."""
    if "faithful" not in comparison.judged.measures:
        return {}
    values, judge = comparison.judged.measures["faithful"], find_judge(comparison.judged.judge)
    requests = [judge.group(prompt) for prompt in comparison.prompts]
    tables = {}
    for attribute, choices in judge.groups.items():
        asked = [request.get(attribute) for request in requests]
        tables[LABELS[attribute]] = [
            _row(it, "faithful", _of(values, asked, it, comparison.seed)) for it in choices if it in asked
        ]
    return {title: rows for title, rows in tables.items() if len(rows) > 1}


def _of(values: Paired, asked: list[Any], it: Any, seed: int) -> Change:
    return change("faithful", values.of([p for p, a in enumerate(asked) if a == it]), seed)


def judge_rows(comparison: Comparison) -> list[JudgeRow]:
    """What the other judges say beside the one that is reported."""
    judged, *others = comparison.verdicts
    rows = []
    for other in others:
        for finding, between in gap(judged, other, comparison.seed).items():
            label = LABELS[finding] + (" above 50%" if finding == "win_rate" else ", gain")
            ours, theirs = (_gain(verdict, finding, comparison.seed) for verdict in (judged, other))
            tone = "bad" if sign(between) > 0 else "open"
            rows.append(JudgeRow(other.judge, label, ours, theirs, _told(between, finding), tone))
    return rows


def _gain(verdict: Verdict, finding: str, seed: int) -> tuple[str, str]:
    gained = verdict.outcomes - 0.5 if finding == "win_rate" else verdict.measures[finding].gain
    return _told(statistics.mean(gained, seed=seed), finding)


def _told(gained: Estimate, finding: str) -> tuple[str, str]:
    by = _writers(finding)[1]
    return by(gained.value), interval(gained, by)


def interval_rows(comparison: Comparison) -> list[tuple[str, str, str, str, str, str]]:
    """(rate, value, Wilson on the effective count, that count, prompt bootstrap, Wilson as if all were independent)."""
    verdict = comparison.judged
    rates = {"Win rate": verdict.outcomes}
    if "faithful" in verdict.measures:
        faithful = verdict.measures["faithful"]
        rates = {"Faithful, base": faithful.base, "Faithful, aligned": faithful.aligned, **rates}
    rows = []
    for label, outcomes in rates.items():
        estimate, naive = statistics.rate(outcomes), statistics.wilson(outcomes.mean(), outcomes.size)
        rows.append(
            (
                label,
                percent(estimate.value),
                interval(estimate),
                f"{statistics.effective_count(outcomes):,.0f} of {outcomes.size:,}",
                interval(statistics.mean(outcomes, seed=comparison.seed)),
                interval(Estimate(estimate.value, *naive, estimate.n)),
            )
        )
    return rows


def _row(label: str, measure: str, found: Change) -> Row:
    value, by = _writers(measure)
    direction = sign(found.difference) * (-1 if measure in LOWER_IS_BETTER else 1)
    return Row(
        label,
        value(found.base.value),
        value(found.aligned.value),
        by(found.difference.value),
        interval(found.difference, by),
        TONES[direction],
        _change_strip(measure, found),
        found.base.n,
    )


def _writers(measure: str) -> tuple[Callable[[float], str], Callable[[float], str]]:
    """How a measure's values and its differences are written."""
    return (number, signed) if measure in ("appeal", "score") else (percent, points)


def _change_strip(measure: str, found: Change) -> Strip:
    estimates = {"base": found.base, "aligned": found.aligned}
    if measure != "score":
        return strip(estimates, ends=("0", "1") if measure == "appeal" else ("0%", "100%"))
    ends = [end for e in estimates.values() for end in (e.value, e.low, e.high) if end == end]
    pad = 0.2 * (max(ends) - min(ends)) or 1.0
    low, high = min(ends) - pad, max(ends) + pad
    return strip(estimates, low, high, ends=(number(low), number(high)))


def sentence(comparison: Comparison) -> str:
    """The finding in one sentence."""
    judged = comparison.judged
    prompts, images = judged.outcomes.shape
    drawn = f"Both drew the same {prompts:,} prompts, {images} images each, from the same seeds."
    if "faithful" not in judged.measures:
        rate = statistics.rate(judged.outcomes)
        won = f"The judge puts the aligned model's image first in {percent(rate.value)} of pairs"
        return f"{won} (95% interval {interval(rate)}). {drawn}"
    found = change("faithful", judged.measures["faithful"], comparison.seed)
    rates = f"in {percent(found.aligned.value)} of its images, the base in {percent(found.base.value)}"
    by = f"{points(found.difference.value)} points (95% interval {interval(found.difference, points)})"
    return f"The aligned model follows its prompt {rates}: {by}. {drawn}"


def flatten(config: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Nested configuration as (dotted key, value) in the order given."""
    rows: list[tuple[str, str]] = []
    for key, value in config.items():
        if isinstance(value, Mapping):
            rows += flatten(value, f"{prefix}{key}.")
        elif isinstance(value, (list, tuple)):
            rows.append((f"{prefix}{key}", ", ".join(map(str, value)) or "none"))
        else:
            rows.append((f"{prefix}{key}", "default" if value is None else str(value)))
    return rows
