"""Measures of agreement and of strength, with their uncertainty.

Every measure here is a function of sums over prompts: coincidences of labels, wins of one system over another, counts.
So an interval that resamples prompts computes these sums only once; each resample weights them. evalica computes the
estimates. It has no bootstrap over prompts, and 4,000 of its fits take seconds, but the owner's page must answer within
tenths of a second. So the same formulas are written here for many resamples at once (tests compare them with evalica).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Literal

import numpy as np
from scipy import stats
from scipy.sparse.csgraph import connected_components

from palate.core.seeds import numpy_generator
from palate.core.statistics import CONFIDENCE, ENOUGH, RESAMPLES, Estimate, expanded_tail, wilson

Distance = Literal["nominal", "ordinal"]
BATCH = 2**22
"""The maximum number of array elements that resampling holds at once."""
ALIKE = 1e-6
"""An interval narrower than this means that all resamples are equal up to rounding."""
PRECISION, ROUNDS = 1e-4, 500
"""The precision of resampled log-strengths, far below the width of any interval, and the maximum number of rounds."""


def alpha(unit: np.ndarray, label: np.ndarray, distance: Distance) -> float:
    """Krippendorff's alpha of labels [M], each given to a unit [M]: 1 is full agreement, 0 is chance.

    NaN where no unit has two labels, or where all labels are the same: then agreement is not defined.

    Reference: Krippendorff, "Content Analysis: An Introduction to Its Methodology", 2018, chapter 12.
    """
    import evalica
    import pandas

    _, unit, count = np.unique(unit, return_inverse=True, return_counts=True)
    paired = count[unit] > 1
    if len(np.unique(label[paired])) < 2:
        return math.nan
    by_unit = np.argsort(unit, kind="stable")
    row = np.empty_like(unit)  # alpha does not depend on who gave a label: the k-th of a unit goes to row k
    row[by_unit] = np.arange(len(unit)) - np.repeat(np.cumsum(count) - count, count)
    table = np.full((count.max(), len(count)), np.nan)
    table[row, unit] = label
    return float(evalica.alpha(pandas.DataFrame(table), distance).alpha)


def coincidences(unit: np.ndarray, label: np.ndarray, prompt: np.ndarray, prompts: int) -> np.ndarray:
    """[P, K, K] How often two answers gave labels c and k to one unit, weighted by 1 / (answers to the unit - 1).

    Args:
        unit, label, prompt: [M]; all labels of a unit have the same prompt.
        prompts: the number of prompts, P.
    """
    labels, label = np.unique(label, return_inverse=True)
    units, first, unit = np.unique(unit, return_index=True, return_inverse=True)
    counts = np.zeros((len(units), len(labels)))
    np.add.at(counts, (unit, label), 1.0)
    paired = counts.sum(1) > 1
    counts, prompt = counts[paired], prompt[first][paired]
    pairs = counts[:, :, None] * counts[:, None, :] - counts[:, :, None] * np.eye(len(labels))
    found = np.zeros((prompts, len(labels), len(labels)))
    np.add.at(found, prompt, pairs / (counts.sum(1) - 1)[:, None, None])
    return found


def alphas(totals: np.ndarray, distance: Distance) -> np.ndarray:
    """Alpha [B] of summed coincidences [B, K, K]; NaN where agreement is not defined (see `alpha`)."""
    count = totals.sum(2)  # [B, K]
    if distance == "nominal":
        delta = 1.0 - np.eye(count.shape[1])
    else:
        middle = count.cumsum(1) - count / 2
        delta = (middle[:, :, None] - middle[:, None, :]) ** 2
    observed = (totals * delta).sum((1, 2))
    expected = (count[:, :, None] * count[:, None, :] * delta).sum((1, 2)) / np.maximum(count.sum(1) - 1, 1e-12)
    return np.divide(expected - observed, expected, out=np.full_like(expected, np.nan), where=expected > 0)


def with_majority(unit: np.ndarray, label: np.ndarray, counted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Whether the other labels of a unit have a majority, and whether the label is that majority: two arrays [M].

    The majority is the label that most of the other raters gave; where two labels are equally frequent there is none.

    Args:
        unit, label: [M], at most one for each rater and unit.
        counted: [M] whether the label counts towards a majority; one that does not is compared with all that do.
    """
    _, unit = np.unique(unit, return_inverse=True)
    labels, label = np.unique(label, return_inverse=True)
    shape = (unit.max(initial=-1) + 1, len(labels))
    counts = np.bincount((unit * len(labels) + label)[counted], minlength=shape[0] * shape[1])
    others = counts.reshape(shape)[unit]
    rows = np.arange(len(label))
    others[rows, label] -= counted
    most = others.max(1, initial=0)
    known = (most > 0) & ((others == most[:, None]).sum(1) == 1)
    return known, known & (others[rows, label] == most)


def wins(
    first: np.ndarray, second: np.ndarray, sign: np.ndarray, prompt: np.ndarray, shape: tuple[int, int]
) -> np.ndarray:
    """[P, S, S] How often system a won against system b; a tie is half a win for each.

    Args:
        first, second, sign, prompt: [M], as in `labels.Compared`; both systems are known and different.
        shape: P and S.
    """
    found = np.zeros((*shape, shape[1]))
    won = (1 + sign) / 2
    np.add.at(found, (prompt, first, second), won)
    np.add.at(found, (prompt, second, first), 1 - won)
    return found


def settled(wins: np.ndarray) -> bool:
    """Whether wins [S, S] determine strengths: no group of systems won, or lost, all comparisons with the others.

    Reference: Ford, "Solution of a ranking problem from binary comparisons", American Mathematical Monthly 1957.
    """
    return connected_components(wins > 0, connection="strong")[0] == 1


def connected(compared: np.ndarray) -> bool:
    """Whether every system of symmetric counts [S, S] was compared with every other, directly or through others."""
    return connected_components(compared > 0, directed=False)[0] == 1


def bradley_terry_strengths(wins: np.ndarray) -> np.ndarray:
    """Log-strengths [S] with mean 0: the odds that a wins against b are `exp(strength[a] - strength[b])`.

    Where wins [S, S] do not determine them, each system gets one more win and one more loss, against an imaginary
    opponent, which keeps them finite (the prior of Newman 2023, section 2.2).

    Reference: Bradley and Terry, Biometrika 1952; Newman, "Efficient computation of rankings from pairwise
    comparisons", JMLR 2023.
    """
    import evalica
    import pandas

    systems = len(wins)
    if not settled(wins):
        wins = _with_phantom(wins[None])[0]
    a, b = np.nonzero(wins)
    index = pandas.Index(range(len(wins)))
    options = {"weights": wins[a, b].tolist(), "index": index, "tolerance": 1e-10, "limit": 100_000}
    scores = evalica.bradley_terry(a.tolist(), b.tolist(), [evalica.Winner.X] * len(a), **options).scores
    strengths = np.log(scores.reindex(index).to_numpy(float))[:systems]
    return strengths - strengths.mean()


def strengths(wins: np.ndarray, start: np.ndarray) -> np.ndarray:
    """`bradley_terry_strengths` of many wins [B, S, S] at once, from initial values [S]: log-strengths [B, S].

    NaN for a system that was not compared with another one.
    """
    systems, open_ended = wins.shape[1], ~_all_settled(wins)
    found = np.empty(wins.shape[:2])
    found[~open_ended] = _solved(wins[~open_ended], start)
    found[open_ended] = _solved(_with_phantom(wins[open_ended]), np.append(start, 0.0))[:, :systems]
    found -= found.mean(1, keepdims=True)
    return np.where(wins.sum(1) + wins.sum(2) > 0, found, np.nan)


def _solved(wins: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Newman's iteration, each i in turn: `pi_i <- sum_j(w_ij pi_j / (pi_i + pi_j)) / sum_j(w_ji / (pi_i + pi_j))`."""
    log_pi = np.broadcast_to(start, wins.shape[:2]).copy()
    going = np.arange(len(wins))
    for _ in range(ROUNDS):
        if not len(going):
            break
        some, pi = wins[going], np.exp(log_pi[going])
        for i in range(pi.shape[1]):
            both = pi[:, i : i + 1] + pi
            pi[:, i] = (some[:, i] * pi / both).sum(1) / (some[:, :, i] / both).sum(1)
        new = np.log(pi)
        new -= new.mean(1, keepdims=True)
        moved = np.abs(new - log_pi[going]).max(1) > PRECISION
        log_pi[going] = new
        going = going[moved]
    return log_pi


def _all_settled(wins: np.ndarray) -> np.ndarray:
    """[B] `settled` for each: whether a path of wins leads from every system to every other."""
    reached = ((wins > 0) | np.eye(wins.shape[1], dtype=bool)).astype(np.float32)
    for _ in range(max(1, math.ceil(math.log2(wins.shape[1])))):
        reached = (reached @ reached > 0).astype(np.float32)
    return np.asarray((reached > 0).all((1, 2)))


def _with_phantom(wins: np.ndarray) -> np.ndarray:
    more = np.pad(wins, ((0, 0), (0, 1), (0, 1)))
    more[:, :-1, -1] = more[:, -1, :-1] = 1.0
    return more


def resampled(
    sums: np.ndarray, statistic: Callable[[np.ndarray], np.ndarray], seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """The ends of the 95% interval of a statistic, from resampled prompts; NaN where they cannot be known.

    The percentiles are expanded as in `core.statistics`, because plain percentiles are too narrow with few prompts
    (Hesterberg 2015). There are no ends in three cases: with fewer prompts than `ENOUGH`; where the resamples without a
    value are more than those beyond an end; and where all resamples are equal, because an interval of width zero would
    claim certainty.

    Args:
        sums: [P, ...] the sums of each prompt.
        statistic: maps sums over resampled prompts [B, ...] to [B] or [B, S].
        seed: of the resampling.
    """
    prompts = len(sums)
    if prompts < ENOUGH:
        unknown = np.full_like(statistic(sums.sum(0)[None])[0], np.nan)
        return unknown, unknown
    flat, shape = sums.reshape(prompts, sums[0].size), sums.shape[1:]
    rng = numpy_generator(seed, "quality bootstrap")
    batch = max(1, min(RESAMPLES, BATCH // max(flat.shape)))
    found = []
    for start in range(0, RESAMPLES, batch):
        some = min(batch, RESAMPLES - start)
        drawn = rng.integers(0, prompts, (some, prompts)) + np.arange(some)[:, None] * prompts
        weights = np.bincount(drawn.ravel(), minlength=some * prompts).reshape(some, prompts).astype(float)
        found.append(statistic((weights @ flat).reshape(some, *shape)))
    values = np.concatenate(found)
    beyond = expanded_tail(prompts)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # all values are NaN: the result below is NaN too
        low, high = np.nanquantile(values, [beyond, 1 - beyond], axis=0)
    unknown = (np.isnan(values).mean(0) > beyond) | (high - low < ALIKE)
    return np.where(unknown, np.nan, low), np.where(unknown, np.nan, high)


def prompt_share(sums: np.ndarray) -> Estimate:
    """A share over prompts, with Wilson's interval on the effective count.

    The effective count is the number of independent trials with the same variance, `p (1 - p) / var`. The variance of
    the ratio is estimated from the prompts' residuals `hits - p trials`; the count is multiplied by `(z / t)^2` for the
    error of that estimate (Korn and Graubard 1998). Where all prompts agree, each counts as one trial, which is the
    cautious choice. With fewer prompts than `ENOUGH` there are no ends.

    Args:
        sums: [P, 2] hits and trials of each prompt, whole numbers; each prompt has at least one trial.
    """
    hits, trials = sums.sum(0)
    prompts = len(sums)
    p = float(hits / trials) if trials else math.nan
    if prompts < ENOUGH:
        return Estimate(p, math.nan, math.nan, round(trials))
    residuals = sums[:, 0] - p * sums[:, 1]
    variance = prompts / (prompts - 1) * float((residuals**2).sum()) / trials**2
    tail = (1 + CONFIDENCE) / 2
    shrink = stats.norm.ppf(tail) / stats.t.ppf(tail, prompts - 1)
    effective = min(p * (1 - p) / variance * shrink**2, trials) if variance > 1e-12 else prompts
    return Estimate(p, *wilson(p, float(effective)), round(trials))


def estimate(
    value: float, sums: np.ndarray, statistic: Callable[[np.ndarray], np.ndarray], n: int, seed: int
) -> Estimate:
    """A number with its interval from resampled prompts; see `resampled`."""
    if not math.isfinite(value):
        return Estimate(value, math.nan, math.nan, n)
    low, high = resampled(sums, statistic, seed)
    return Estimate(value, float(low), float(high), n)
