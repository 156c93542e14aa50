"""Measures of agreement and of strength: published values, evalica's values, and the coverage of intervals."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from palate.collect.quality.measures import (
    alpha,
    alphas,
    bradley_terry_strengths,
    coincidences,
    prompt_share,
    resampled,
    settled,
    strengths,
    wins,
    with_majority,
)
from palate.core.statistics import wilson

MISSING = 0
KRIPPENDORFF = np.array(
    [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, MISSING, MISSING, MISSING],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, MISSING, 3],
        [MISSING, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, MISSING],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, MISSING],
    ]
)
"""Four observers and twelve units, of Krippendorff 2011, "Computing Krippendorff's alpha-reliability", section C."""


def long(table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The units and labels in a table with a row for each observer and a column for each unit."""
    observer, unit = np.nonzero(table != MISSING)
    return unit, table[observer, unit]


@pytest.mark.parametrize("distance, published", [("nominal", 0.743), ("ordinal", 0.815)])
def test_alpha_is_krippendorffs_own_example(distance, published):
    unit, label = long(KRIPPENDORFF)
    assert alpha(unit, label, distance) == pytest.approx(published, abs=5e-4)


@pytest.mark.parametrize("distance", ["nominal", "ordinal"])
def test_alpha_of_summed_coincidences_is_evalicas(distance):
    rng = np.random.default_rng(0)
    unit, prompt = rng.integers(0, 40, 150), np.arange(40) // 4
    label = (unit % 3 + rng.integers(0, 3, 150)) * 2
    by_prompt = coincidences(unit, label, prompt[unit], 10)
    assert alphas(by_prompt.sum(0)[None], distance)[0] == pytest.approx(alpha(unit, label, distance), abs=1e-12)


def test_alpha_is_unknown_where_all_labels_are_equal_or_no_unit_has_two():
    assert math.isnan(alpha(np.array([0, 0, 1, 1]), np.array([2, 2, 2, 2]), "nominal"))
    assert math.isnan(alpha(np.array([0, 1, 2]), np.array([1, 2, 3]), "nominal"))
    assert math.isnan(alpha(np.array([], int), np.array([], int), "ordinal"))


def test_a_rater_agrees_with_the_majority_of_the_others_only_where_there_is_one():
    unit = np.array([0, 0, 0, 1, 1, 2])
    label = np.array([1, 1, 2, 1, 2, 1])
    known, agrees = with_majority(unit, label, np.ones(6, bool))
    # Unit 0: the first two see {1, 2}, a draw; the third sees {1, 1}. Unit 1: each sees the other. Unit 2: nobody.
    assert known.tolist() == [False, False, True, True, True, False]
    assert not agrees.any()


def test_a_rater_who_does_not_count_is_compared_with_the_majority_but_not_part_of_it():
    unit, label = np.zeros(4, int), np.array([1, 1, 2, 1])
    known, agrees = with_majority(unit, label, np.array([True, True, False, False]))
    assert known.tolist() == [True, True, True, True]
    assert agrees.tolist() == [True, True, False, True]


TWO = np.array([[0.0, 6.0], [2.0, 0.0]])


def test_the_strengths_of_two_systems_differ_by_the_logarithm_of_their_odds():
    assert bradley_terry_strengths(TWO) == pytest.approx([math.log(3) / 2, -math.log(3) / 2], abs=1e-6)


def test_a_tie_is_half_a_win_of_each():
    some = wins(np.array([0, 0, 0]), np.array([1, 1, 1]), np.array([1, 0, 0]), np.zeros(3, int), (1, 2))
    assert some[0].tolist() == [[0.0, 2.0], [1.0, 0.0]]


def test_many_strengths_at_once_are_evalicas():
    rng = np.random.default_rng(1)
    some = rng.integers(0, 9, (30, 5, 5)) * (1 - np.eye(5))
    expected = np.array([bradley_terry_strengths(each) for each in some])
    assert strengths(some, np.zeros(5)) == pytest.approx(expected, abs=1e-3)  # of PRECISION 1e-4 a round


def test_where_one_system_won_everything_strengths_are_finite_but_not_settled():
    swept = np.array([[0.0, 3.0, 3.0], [0.0, 0.0, 2.0], [0.0, 1.0, 0.0]])
    assert not settled(swept)
    assert settled(swept + np.array([[0, 0, 0], [1, 0, 0], [0, 0, 0]]))
    found = bradley_terry_strengths(swept)
    assert np.isfinite(found).all()
    assert found.argmax() == 0
    assert strengths(swept[None], found)[0] == pytest.approx(found, abs=1e-3)


def test_one_prompt_gives_no_interval():
    low, high = resampled(np.ones((1, 2)), lambda sums: sums[:, 0] / sums[:, 1], 0)
    assert math.isnan(low) and math.isnan(high)


def test_an_interval_of_width_zero_is_unknown():
    """Twenty prompts that all agree do not prove that every prompt does."""
    sums = np.ones((20, 2))
    low, high = resampled(sums, lambda some: some[:, 0] / some[:, 1], 0)
    assert np.isnan(low) and np.isnan(high)
    sums[0, 0] = 0.0
    low, high = resampled(sums, lambda some: some[:, 0] / some[:, 1], 0)
    assert 0.7 < low < high <= 1.0


def test_intervals_of_strengths_cover_the_truth_about_as_often_as_they_say():
    rng, covered = np.random.default_rng(2), 0
    effects = rng.normal(0.5, 1.0, 200_000)
    share = (1 / (1 + np.exp(-effects))).mean()
    truth = math.log(share / (1 - share)) / 2
    for trial in range(100):
        won = rng.binomial(5, 1 / (1 + np.exp(-rng.normal(0.5, 1.0, 30)))).astype(float)
        by_prompt = np.zeros((30, 2, 2))
        by_prompt[:, 0, 1], by_prompt[:, 1, 0] = won, 5 - won
        low, high = resampled(by_prompt, lambda some: strengths(some, np.zeros(2)), trial)
        covered += low[0] <= truth <= high[0]
    assert 89 <= covered <= 99  # 95 of 100 give or take two standard deviations, and a little for small samples


def test_resamples_that_are_all_equal_give_no_interval():
    low, high = resampled(np.tile([3.0, 4.0], (12, 1)), lambda sums: sums[:, 0] / sums[:, 1], 0)
    assert math.isnan(low) and math.isnan(high)


def test_with_one_trial_for_each_prompt_a_share_has_wilsons_interval():
    sums = np.array([[1.0, 1.0]] * 30 + [[0.0, 1.0]] * 10)
    found = prompt_share(sums)
    z_to_t = (stats.norm.ppf(0.975) / stats.t.ppf(0.975, 39)) ** 2
    assert (found.value, found.n) == (0.75, 40)
    assert (found.low, found.high) == pytest.approx(wilson(0.75, 39 * z_to_t))  # the variance has 39 degrees of freedom


def test_where_all_prompts_agree_on_a_share_each_counts_as_one_trial():
    found = prompt_share(np.tile([5.0, 5.0], (12, 1)))
    assert (found.value, found.n) == (1.0, 60)
    assert (found.low, found.high) == pytest.approx(wilson(1.0, 12))


def test_a_share_of_fewer_than_six_prompts_has_no_interval():
    found = prompt_share(np.array([[1.0, 2.0]] * 5))
    assert found.value == 0.5 and math.isnan(found.low) and math.isnan(found.high)
    assert math.isnan(prompt_share(np.zeros((0, 2))).value)


@pytest.mark.parametrize("truth", [0.6, 0.9])
def test_intervals_of_shares_cover_the_truth_about_as_often_as_they_say(truth):
    rng, covered, tries = np.random.default_rng(3), 0, 400
    for _ in range(tries):
        easy = rng.beta(4 * truth, 4 * (1 - truth), 20)  # prompts differ in how much people agree on them
        trials = rng.integers(3, 6, 20)
        found = prompt_share(np.stack([rng.binomial(trials, easy), trials], 1).astype(float))
        covered += found.low <= truth <= found.high
    assert 0.92 <= covered / tries <= 0.985  # 0.95 give or take two standard deviations and small samples
