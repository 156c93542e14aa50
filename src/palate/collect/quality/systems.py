"""How the generators stand: strengths, win rates and stars, by the answers that count."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from palate.collect.quality.labels import between_systems, compared
from palate.collect.quality.measures import bradley_terry, resampled, settled, strengths, wins
from palate.collect.quality.votes import UNKNOWN, Record
from palate.core.statistics import Estimate


@dataclass(frozen=True)
class Standing:
    """The S systems by one question, the best first.

    Attributes:
        systems: names.
        strengths: Bradley-Terry's, natural logarithms with mean 0; the interval resamples prompts. `n` counts
            comparisons; a system without one has no strength.
        settled: whether the comparisons determine strengths; where they do not (a system has won, or lost, everything,
            or some were never compared with others) the values lean on a weak prior and have no interval.
        win_rates: [S, S] share of comparisons that the row's system won against the column's, ties halved.
        comparisons: [S, S] how many.
        stars: mean of a rating, else empty.
    """

    question: str
    systems: tuple[str, ...]
    strengths: tuple[Estimate, ...]
    settled: bool
    win_rates: tuple[tuple[float, ...], ...]
    comparisons: tuple[tuple[int, ...], ...]
    stars: tuple[Estimate, ...]


def standing_of(record: Record, question: str) -> Standing | None:
    """How systems stand by one question; None where fewer than two have names."""
    named = np.unique(record.items.system[~record.items.gold])
    named = named[named != UNKNOWN]
    if len(named) < 2:
        return None
    by_prompt = _wins(record, question, named)
    total = by_prompt.sum(0)
    estimates, is_settled = _strengths(by_prompt, record.seed)
    stars = _stars(record, question, named) if record.task == "rating" else []
    order = _best_first(stars or estimates, total)
    count = total + total.T
    rates = np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)
    return Standing(
        question,
        tuple(record.items.systems[named[i]] for i in order),
        tuple(estimates[i] for i in order),
        is_settled,
        tuple(tuple(float(rates[i, j]) for j in order) for i in order),
        tuple(tuple(round(float(count[i, j])) for j in order) for i in order),
        tuple(stars[i] for i in order) if stars else (),
    )


def _best_first(estimates: list[Estimate], total: np.ndarray) -> list[int]:
    """Numbers of systems; those without a value last."""
    values = [each.value if math.isfinite(each.value) else -math.inf for each in estimates]
    return sorted(range(len(total)), key=lambda i: -values[i])


def _wins(record: Record, question: str, named: np.ndarray) -> np.ndarray:
    """[P, S, S] Wins by prompt; only prompts with a comparison."""
    found = compared(record, question)
    chosen = record.counted[found.answer] & between_systems(found)
    prompts, prompt = np.unique(found.prompt[chosen], return_inverse=True)
    first, second = (np.searchsorted(named, each[chosen]) for each in (found.first, found.second))
    return wins(first, second, found.label[chosen], prompt, (len(prompts), len(named)))


def _strengths(by_prompt: np.ndarray, seed: int) -> tuple[list[Estimate], bool]:
    total = by_prompt.sum(0)
    count = (total + total.T).sum(1)
    there = np.flatnonzero(count)
    found = [Estimate(math.nan, math.nan, math.nan, 0)] * len(total)
    if not len(there):
        return found, False
    by_prompt = by_prompt[:, there[:, None], there]
    values, is_settled = bradley_terry(by_prompt.sum(0)), settled(by_prompt.sum(0))
    low = high = np.full_like(values, np.nan)
    if is_settled:
        low, high = resampled(by_prompt, lambda some: strengths(some, values), seed)
    for i, place in enumerate(there):
        found[place] = Estimate(float(values[i]), float(low[i]), float(high[i]), round(float(count[place])))
    return found, is_settled


def _stars(record: Record, question: str, named: np.ndarray) -> list[Estimate]:
    """The mean stars of each system, which resamples prompts."""
    answers, items = record.answers, record.items
    rows = np.flatnonzero(record.counted & (items.system[answers.item, 0] != UNKNOWN))
    prompts, prompt = np.unique(items.prompt[answers.item[rows]], return_inverse=True)
    system = np.searchsorted(named, items.system[answers.item[rows], 0])
    sums = np.zeros((len(prompts), 2, len(named)))
    np.add.at(sums[:, 0], (prompt, system), answers.stars[question][rows, 0])
    np.add.at(sums[:, 1], (prompt, system), 1.0)
    count = sums[:, 1].sum(0)
    values = _means(sums.sum(0)[None])[0]
    low, high = resampled(sums, _means, record.seed)
    return [Estimate(float(v), float(a), float(b), round(float(n))) for v, a, b, n in zip(values, low, high, count)]


def _means(sums: np.ndarray) -> np.ndarray:
    """[B, S] of sums and counts [B, 2, S]."""
    total, count = sums[:, 0], sums[:, 1]
    return np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)
