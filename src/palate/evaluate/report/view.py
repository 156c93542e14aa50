"""The numbers and texts of the report; the template only does the layout."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from palate.core import statistics
from palate.core.statistics import Estimate
from palate.evaluate.compare import Change, Comparison, Paired, Verdict, change, gap
from palate.evaluate.judge import HEADLINES, RATES, find_judge
from palate.report.charts import Strip, axis, strip
from palate.report.number_format import all_numbers, count, interval_text, percent, points, writer

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
    """A headline number. `tone` is good, bad or open (no change, or not known); `word` says it in words."""

    title: str
    value: str
    ends: str
    tone: str
    word: str
    details: tuple[str, ...]
    strip: Strip


@dataclass(frozen=True)
class MeasureRow:
    """A row of a table: a measure of the base and of the aligned model."""

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
    """A result of two judges, each (gain, its interval), and the gap; `tone` is bad if the other's gain is larger."""

    judge: str
    label: str
    judged: tuple[str, str]
    other: tuple[str, str]
    gap: tuple[str, str]
    tone: str


def word(estimate: Estimate, prompts: int, words: tuple[str, str, str], zero: float = 0.0) -> tuple[str, str]:
    """A tone, and a word for the interval: above, around or below `zero`, or the reason why it is unknown."""
    if unknown := estimate.unknown(prompts):
        return "open", unknown
    direction = estimate.sign(zero)
    return TONES[direction], words[1 - direction]


def cards(comparison: Comparison) -> list[Card]:
    """The main results: the judge's measures, the win rate, and the diversity."""
    judged, seed = comparison.judged, comparison.seed
    measured = [_measure_card(m, judged.measures[m], seed) for m in HEADLINES if m in judged.measures]
    return [*measured[:1], _win_card(judged), *measured[1:], _diversity_card(comparison)]


def _measure_card(measure: str, values: Paired, seed: int) -> Card:
    found = change(measure, values, seed)
    value, by = _writers(measure, found)
    unit = " points" if measure in RATES else ""
    tone, said = word(found.difference, len(values.base), ("clear gain", "no clear change", "clear loss"))
    return Card(
        LABELS[measure],
        value(found.aligned.value),
        interval_text(found.aligned, value),
        tone,
        said,
        (
            f"base {value(found.base.value)} ({interval_text(found.base, value)})",
            f"{by(found.difference.value)}{unit} ({interval_text(found.difference, by)})",
        ),
        _change_strip(measure, found),
    )


def _win_card(judged: Verdict) -> Card:
    outcomes = judged.outcomes
    rate = statistics.rate(outcomes)
    tone, said = word(rate, len(outcomes), ("above chance", "no clear winner", "below chance"), 0.5)
    wins, ties, losses = (int((outcomes == worth).sum()) for worth in (1, 0.5, 0))
    return Card(
        "Win rate over the base",
        percent(rate.value),
        interval_text(rate),
        tone,
        said,
        (", ".join((count(wins, "win"), count(ties, "tie"), count(losses, "loss", "losses"))),),
        strip({"aligned": rate}, reference=0.5),
    )


def _diversity_card(comparison: Comparison) -> Card:
    values, seed = comparison.diversity, comparison.seed
    before, after = (statistics.mean(side, seed=seed) for side in (values.base, values.aligned))
    kept = statistics.ratio(values.base, values.aligned, seed=seed)
    tone, said = word(kept, len(values.base), ("more varied", "as varied as the base", "less varied"), 1.0)
    if comparison.judged.outcomes.shape[1] == 1:
        said = "unknown: one image a prompt"
    write = writer((before.value, after.value))
    return Card(
        "Diversity kept",
        percent(kept.value),
        interval_text(kept),
        tone,
        said,
        ("RMS distance between seeds", f"{write(before.value)} → {write(after.value)}"),
        strip({"aligned": kept}, 0.0, 1.5, reference=1.0, ends=("0%", "150%")),
    )


def measure_rows(comparison: Comparison) -> list[MeasureRow]:
    """One row for each thing that the judge reads off an image."""
    measures = comparison.judged.measures
    return [_row(LABELS.get(m, m), m, values, comparison.seed) for m, values in measures.items()]


def request_tables(comparison: Comparison) -> dict[str, list[MeasureRow]]:
    """Faithfulness by what the prompt asks for; empty for a judge that does not say, or cannot read the prompts."""
    if "faithful" not in comparison.judged.measures:
        return {}
    values, judge = comparison.judged.measures["faithful"], find_judge(comparison.judged.judge)
    requests = [judge.group(prompt) for prompt in comparison.prompts]
    tables = {}
    for attribute, choices in judge.groups.items():
        asked = [request.get(attribute) for request in requests]
        tables[LABELS[attribute]] = [
            _row(it, "faithful", _of(values, asked, it), comparison.seed) for it in choices if it in asked
        ]
    return {title: rows for title, rows in tables.items() if len(rows) > 1}


def _of(values: Paired, asked: list[Any], it: Any) -> Paired:
    return values.of([p for p, a in enumerate(asked) if a == it])


def judge_rows(comparison: Comparison) -> list[JudgeRow]:
    """The results of the other judges, compared with those of the reported judge."""
    judged, *others = comparison.verdicts
    rows = []
    for other in others:
        for finding, between in gap(judged, other, comparison.seed).items():
            label = LABELS[finding] + (" above 50%" if finding == "win_rate" else ", gain")
            gains = [_gain(verdict, finding, comparison.seed) for verdict in (judged, other)]
            write = points if finding in ("win_rate", *RATES) else writer(all_numbers(*gains, between), sign=True)
            ours, theirs, apart = ((write(each.value), interval_text(each, write)) for each in (*gains, between))
            flattered = word(between, len(judged.outcomes), ("flattered", "", ""))[1] == "flattered"
            rows.append(JudgeRow(other.judge, label, ours, theirs, apart, "bad" if flattered else "open"))
    return rows


def _gain(verdict: Verdict, finding: str, seed: int) -> Estimate:
    if finding == "win_rate":
        return statistics.bounded_mean(verdict.outcomes - 0.5, 0.5)
    return change(finding, verdict.measures[finding], seed).difference


def interval_rows(comparison: Comparison) -> list[tuple[str, str, str, str, str]]:
    """(rate, value, its interval, the effective count, the interval as if all images were independent)."""
    verdict = comparison.judged
    rates = {"Win rate": verdict.outcomes}
    if "faithful" in verdict.measures:
        faithful = verdict.measures["faithful"]
        rates = {"Faithful, base": faithful.base, "Faithful, aligned": faithful.aligned, **rates}
    rows = []
    for label, outcomes in rates.items():
        estimate, naive = statistics.rate(outcomes), statistics.rate(outcomes.reshape(-1, 1))
        effective = f"{statistics.effective_count(outcomes):,.0f} of {outcomes.size:,}"
        rows.append((label, percent(estimate.value), interval_text(estimate), effective, interval_text(naive)))
    return rows


def _row(label: str, measure: str, values: Paired, seed: int) -> MeasureRow:
    found = change(measure, values, seed)
    value, by = _writers(measure, found)
    words = ("bad", "open", "good") if measure in LOWER_IS_BETTER else ("good", "open", "bad")
    tone, said = word(found.difference, len(values.base), words)
    return MeasureRow(
        label,
        value(found.base.value),
        value(found.aligned.value),
        by(found.difference.value),
        interval_text(found.difference, by),
        said if said in words else tone,
        _change_strip(measure, found),
        found.base.n,
    )


def _writers(measure: str, found: Change) -> tuple[Callable[[float], str], Callable[[float], str]]:
    """The functions that write a measure's values and its differences."""
    if measure not in ("appeal", "score"):
        return percent, points
    return writer(all_numbers(found.base, found.aligned)), writer(all_numbers(found.difference), sign=True)


def _change_strip(measure: str, found: Change) -> Strip:
    estimates = {"base": found.base, "aligned": found.aligned}
    if measure != "score":
        return strip(estimates, ends=("0", "1") if measure == "appeal" else ("0%", "100%"))
    low, high = axis(all_numbers(found.base, found.aligned), 0.2)
    write = writer((low, high))
    return strip(estimates, low, high, ends=(write(low), write(high)))


def comparison_sentence(comparison: Comparison) -> str:
    """The result in one sentence."""
    judged = comparison.judged
    prompts, images = judged.outcomes.shape
    drawn = f"Both drew the same {count(prompts, 'prompt')}, {count(images, 'image')} each, from the same seeds."
    if "faithful" not in judged.measures:
        rate = statistics.rate(judged.outcomes)
        won = f"The judge puts the aligned model's image first in {percent(rate.value)} of pairs"
        return f"{won} (95% interval {interval_text(rate)}). {drawn}"
    found = change("faithful", judged.measures["faithful"], comparison.seed)
    rates = f"in {percent(found.aligned.value)} of its images, the base in {percent(found.base.value)}"
    by = f"{points(found.difference.value)} points (95% interval {interval_text(found.difference, points)})"
    return f"The aligned model follows its prompt {rates}: {by}. {drawn}"
