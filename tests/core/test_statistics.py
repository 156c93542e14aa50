import math

import numpy as np
import pytest
from scipy import stats

from palate.core import statistics
from palate.core.statistics import contest, difference, effective_count, mean, rate, ratio, wilson


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_gives_the_intervals_of_newcombe_1998_table_1(successes, n, low, high):
    assert wilson(successes / n, n) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize(("successes", "n"), [(0, 1), (1, 1), (3, 7), (50, 100), (100, 100)])
def test_wilson_agrees_with_scipy_on_whole_counts(successes, n):
    expected = stats.binomtest(successes, n).proportion_ci(method="wilson")
    assert wilson(successes / n, n) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_one_image_a_prompt_gives_the_textbook_wilson_interval():
    outcomes = np.repeat([1.0, 0.0], [15, 133])[:, None]
    assert effective_count(outcomes) == 148
    estimate = rate(outcomes)
    assert (estimate.low, estimate.high) == pytest.approx((0.0624, 0.1605), abs=5e-5)


def test_the_effective_count_of_prompts_that_are_all_right_or_all_wrong_is_worked_by_hand():
    outcomes = np.repeat([[1.0], [0.0], [1.0], [0.0]], 2, axis=1)
    # p (1 - p) = 1/4; the prompts' means 1, 0, 1, 0 have variance 1/3, their mean 1/12: a count of 3, times (z/t_3)^2
    assert effective_count(outcomes) == pytest.approx(3 * (1.959964 / 3.182446) ** 2, rel=1e-6)


def test_the_effective_count_is_never_more_than_the_images():
    outcomes = np.random.default_rng(0).permuted(np.tile([1.0, 0.0, 1.0, 0.0], (50, 1)), axis=1)
    outcomes[0, :] = 1
    assert effective_count(outcomes) <= outcomes.size


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_where_all_prompts_are_alike_each_counts_once(value):
    outcomes = np.full((10, 4), value)
    assert effective_count(outcomes) == 10
    estimate = rate(outcomes)
    assert (estimate.value, estimate.n) == (value, 40)
    assert (estimate.low, estimate.high) == pytest.approx(wilson(value, 10))


def test_a_single_image_still_has_a_wilson_interval_but_no_bootstrap():
    estimate = rate(np.ones((1, 1)))
    assert (estimate.low, estimate.high) == pytest.approx((0.2065, 1.0), abs=5e-5)
    assert math.isnan(mean(np.ones((1, 1))).low)
    assert mean(np.ones((1, 1))).to_dict() == {"value": 1.0, "low": None, "high": None, "n": 1}


def test_five_prompts_that_agree_prove_nothing_and_six_do():
    for measure in (mean, lambda x: difference(0 * x, x), lambda x: ratio(np.ones_like(x), x)):
        few, enough = (measure(np.linspace(1.0, 2.0, 2 * prompts).reshape(prompts, 2)) for prompts in (5, 6))
        assert math.isnan(few.low) and math.isnan(few.high) and few.value == pytest.approx(1.5)
        assert 1.0 < enough.low < 1.5 < enough.high < 2.0


def test_a_contest_counts_ties_as_a_half():
    base, aligned = np.array([[1.0, 2.0], [3.0, 1.0]]), np.array([[2.0, 1.0], [3.0, 1.0 + 1e-7]])
    np.testing.assert_array_equal(contest(base, aligned), [[1.0, 0.0], [0.5, 0.5]])


def test_all_ties_are_a_win_rate_of_a_half_with_both_models_inside_the_interval():
    scores = np.random.default_rng(0).random((20, 3))
    estimate = rate(contest(scores, scores))
    assert estimate.value == 0.5
    assert estimate.low < 0.5 < estimate.high


def test_zero_wins_leave_room_above_zero():
    estimate = rate(contest(np.ones((10, 1)), np.zeros((10, 1))))
    assert (estimate.value, estimate.low) == (0.0, 0.0)
    assert estimate.high == pytest.approx(0.2775, abs=5e-5)


def test_the_bootstrap_of_a_mean_agrees_with_students_t():
    x = np.random.default_rng(0).normal(5, 2, (60, 1))
    estimate = mean(x)
    expected = stats.t.interval(0.95, 59, x.mean(), stats.sem(x[:, 0]))
    assert (estimate.low, estimate.high) == pytest.approx(expected, abs=0.05)


def test_the_difference_is_paired_by_prompt():
    base = np.random.default_rng(0).normal(0, 10, (40, 2))
    estimate = difference(base, base + 1)
    assert (estimate.value, estimate.low, estimate.high) == pytest.approx((1.0, 1.0, 1.0))


def test_the_ratio_is_of_means_not_a_mean_of_ratios():
    assert ratio(np.array([[1.0], [3.0]]), np.array([[2.0], [2.0]])).value == 1.0


def test_a_ratio_to_zero_is_unknown_rather_than_an_error():
    assert ratio(np.zeros((3, 1)), np.ones((3, 1))).to_dict()["value"] is None


def test_the_bootstrap_repeats_for_a_seed():
    x = np.random.default_rng(0).random((30, 2))
    assert mean(x, seed=3) == mean(x, seed=3)
    assert mean(x, seed=3) != mean(x, seed=4)


def _coverage(interval, experiments, truth):
    ends = np.array([interval(x) for x in experiments])
    return np.mean((ends[:, 0] <= truth) & (truth <= ends[:, 1]))


@pytest.mark.parametrize(("prompts", "images"), [(80, 1), (50, 4), (20, 4)])
def test_intervals_of_95_per_cent_cover_in_95_per_cent_of_experiments(monkeypatch, prompts, images):
    """Prompts differ (Beta(3, 2), a sixth of the variance): clusters, as in an evaluation."""
    monkeypatch.setattr(statistics, "RESAMPLES", 599)
    rng = np.random.default_rng(0)
    experiments = (rng.random((600, prompts, images)) < rng.beta(3, 2, (600, prompts, 1))).astype(float)
    assert 0.93 <= _coverage(lambda x: (rate(x).low, rate(x).high), experiments, 0.6) <= 0.97
    assert 0.93 <= _coverage(lambda x: (mean(x).low, mean(x).high), experiments, 0.6) <= 0.97


def test_the_naive_interval_fails_on_clustered_images_where_the_effective_one_holds():
    rng = np.random.default_rng(1)
    experiments = (rng.random((1000, 50, 4)) < rng.beta(0.6, 0.4, (1000, 50, 1))).astype(float)
    assert _coverage(lambda x: wilson(x.mean(), x.size), experiments, 0.6) < 0.85
    assert 0.93 <= _coverage(lambda x: (rate(x).low, rate(x).high), experiments, 0.6) <= 0.97


def test_the_paired_difference_covers_on_clustered_images(monkeypatch):
    monkeypatch.setattr(statistics, "RESAMPLES", 999)
    rng = np.random.default_rng(2)
    ease = rng.beta(2, 2, (1000, 40, 1))
    base, aligned = ((rng.random((1000, 40, 4)) < p).astype(float) for p in (ease, np.sqrt(ease)))
    gain = stats.beta(2, 2).expect(np.sqrt) - 0.5
    found = [difference(b, a) for b, a in zip(base, aligned, strict=True)]
    covered = sum(estimate.low <= gain <= estimate.high for estimate in found)
    assert 0.93 <= covered / 1000 <= 0.97
