"""The comparison of the systems (the image generators): strengths, win rates and stars, from the answers that count."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from palate.collect.quality.labels import between_systems, compared
from palate.collect.quality.measures import bradley_terry_strengths, connected, resampled, settled, strengths, wins
from palate.collect.quality.study_record import UNKNOWN, Record
from palate.core.statistics import Estimate

State = Literal["empty", "apart", "swept", "settled"]


@dataclass(frozen=True)
class Standing:
    """The S systems compared by one question, the best first.

    Attributes:
        systems: their names.
        strengths: Bradley-Terry log-strengths with mean 0; the interval resamples prompts. `n` is the number of
            comparisons; a system without comparisons has no strength.
        prompts: how many prompts the values are computed from.
        state: whether the comparisons determine the strengths. `empty`: there are no comparisons yet. `apart`: groups
            of systems were never compared with each other. `swept`: one group has won every comparison with the others.
            `settled`: none of these. In `apart` and `swept` the values depend on a weak prior and have no interval.
        win_rates: [S, S] the share of comparisons that the row's system won against the column's; a tie is half a win.
        comparisons: [S, S] how many comparisons there are.
        stars: the mean stars in a rating, else empty.
    """

    question: str
    systems: tuple[str, ...]
    strengths: tuple[Estimate, ...]
    prompts: int
    state: State
    win_rates: tuple[tuple[float, ...], ...]
    comparisons: tuple[tuple[int, ...], ...]
    stars: tuple[Estimate, ...]


def standing_of(record: Record, question: str) -> Standing | None:
    """Compares the systems by one question; None where fewer than two have names."""
    named = np.unique(record.items.system[~record.items.gold])
    named = named[named != UNKNOWN]
    if len(named) < 2:
        return None
    by_prompt = _wins(record, question, named)
    total = by_prompt.sum(0)
    state = _state(total)
    estimates = _strengths(by_prompt, state == "settled", record.seed)
    stars, prompts = _stars(record, question, named) if record.task == "rating" else ([], len(by_prompt))
    order = _best_first(stars or estimates, total)
    count = total + total.T
    rates = np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)
    return Standing(
        question,
        tuple(record.items.systems[named[i]] for i in order),
        tuple(estimates[i] for i in order),
        prompts,
        state,
        tuple(tuple(float(rates[i, j]) for j in order) for i in order),
        tuple(tuple(round(float(count[i, j])) for j in order) for i in order),
        tuple(stars[i] for i in order) if stars else (),
    )


def _best_first(estimates: list[Estimate], total: np.ndarray) -> list[int]:
    """The numbers of the systems, the best first; those without a value are last."""
    values = [each.value if math.isfinite(each.value) else -math.inf for each in estimates]
    return sorted(range(len(total)), key=lambda i: -values[i])


def _wins(record: Record, question: str, named: np.ndarray) -> np.ndarray:
    """[P, S, S] The wins of each prompt that has a comparison."""
    found = compared(record, question)
    chosen = record.counted[found.answer] & between_systems(found)
    prompts, prompt = np.unique(found.prompt[chosen], return_inverse=True)
    first, second = (np.searchsorted(named, each[chosen]) for each in (found.first, found.second))
    return wins(first, second, found.label[chosen], prompt, (len(prompts), len(named)))


def _state(total: np.ndarray) -> State:
    count = total + total.T
    if not count.any():
        return "empty"
    there = np.flatnonzero(count.sum(1))
    if settled(total[np.ix_(there, there)]):
        return "settled"
    return "swept" if connected(count[np.ix_(there, there)]) else "apart"


def _strengths(by_prompt: np.ndarray, is_settled: bool, seed: int) -> list[Estimate]:
    total = by_prompt.sum(0)
    count = (total + total.T).sum(1)
    there = np.flatnonzero(count)
    found = [Estimate(math.nan, math.nan, math.nan, 0)] * len(total)
    if not len(there):
        return found
    by_prompt = by_prompt[:, there[:, None], there]
    values = bradley_terry_strengths(by_prompt.sum(0))
    low = high = np.full_like(values, np.nan)
    if is_settled:
        low, high = resampled(by_prompt, lambda some: strengths(some, values), seed)
    for i, place in enumerate(there):
        found[place] = Estimate(float(values[i]), float(low[i]), float(high[i]), round(float(count[place])))
    return found


def _stars(record: Record, question: str, named: np.ndarray) -> tuple[list[Estimate], int]:
    """The mean stars of each system, whose interval resamples prompts, and how many prompts there are."""
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
    rows = zip(values, low, high, count)
    return [Estimate(float(v), float(a), float(b), round(float(n))) for v, a, b, n in rows], len(prompts)


def _means(sums: np.ndarray) -> np.ndarray:
    """The means [B, S] of sums and counts [B, 2, S]."""
    total, count = sums[:, 0], sums[:, 1]
    return np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)
