import math

import numpy as np
import pytest
from scipy import stats

from palate.core.intervals import mid_p
from palate.core.statistics import (
    ALIKE,
    ENOUGH,
    FEW,
    Estimate,
    bounded_mean,
    contest,
    difference,
    effective_count,
    grouped_rate,
    mean,
    median,
    rate,
    rate_difference,
    ratio,
    wilson,
)


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


def ends(estimate):
    return estimate.low, estimate.high


def test_one_image_a_prompt_gives_the_textbook_interval_of_a_proportion():
    outcomes = np.repeat([1.0, 0.0], [15, 133])[:, None]
    assert effective_count(outcomes) == 148
    assert ends(rate(outcomes)) == pytest.approx([float(end) for end in mid_p(np.array(15 / 148), np.array(148))])


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
    assert ends(estimate) == pytest.approx(ends(rate(outcomes[:, :1])))
    assert estimate.high - estimate.low > 0.2


def test_scores_have_no_interval_from_five_prompts_and_have_one_from_six():
    for measure in (mean, lambda x: difference(0 * x, x), lambda x: ratio(np.ones_like(x), x)):
        few, enough = (measure(np.linspace(1.0, 2.0, 2 * prompts).reshape(prompts, 2)) for prompts in (5, 6))
        assert not few.known and few.value == pytest.approx(1.5)
        assert enough.known and enough.low < 1.5 < enough.high
    assert mean(np.ones((1, 1))).to_dict() == {"value": 1.0, "low": None, "high": None, "n": 1}


def test_an_estimate_says_why_nothing_is_known():
    assert f"{ENOUGH}" == "6" and "six" in FEW
    known, unknown = Estimate(0.5, 0.4, 0.6, 9), Estimate(0.5, math.nan, math.nan, 9)
    assert (known.unknown(6), known.unknown(5), unknown.unknown(6)) == (None, FEW, ALIKE)
    assert (known.sign(0.3), known.sign(0.5), known.sign(0.7), unknown.sign()) == (1, 0, -1, 0)


def test_scores_of_which_all_or_nearly_all_agree_have_no_interval_of_no_width():
    same = np.random.default_rng(0).random((30, 2))
    assert not difference(same, same).known and not difference(same, same * (1 + 1e-7)).known
    assert not mean(np.full((30, 2), 0.1)).known
    almost = same.copy()
    almost[0] += 1.0  # one prompt of thirty: resamples without it have no spread
    assert not difference(same, almost).known


def test_a_contest_counts_ties_as_a_half():
    base, aligned = np.array([[1.0, 2.0], [3.0, 1.0]]), np.array([[2.0, 1.0], [3.0, 1.0 + 1e-7]])
    np.testing.assert_array_equal(contest(base, aligned), [[1.0, 0.0], [0.5, 0.5]])


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_a_contest_knows_rounding_from_a_difference_at_any_scale(scale):
    base, aligned = np.array([[1.0, 2.0, 0.0]]), np.array([[1.001, 2.0 + 1e-7, 1e-10]])
    np.testing.assert_array_equal(contest(scale * base, scale * aligned), [[1.0, 0.5, 0.5]])


def test_all_ties_are_a_win_rate_of_a_half_with_both_models_inside_the_interval():
    scores = np.random.default_rng(0).random((20, 3))
    estimate = rate(contest(scores, scores))
    assert estimate.value == 0.5
    assert estimate.low < 0.5 < estimate.high


def test_zero_wins_leave_room_above_zero():
    estimate = rate(contest(np.ones((10, 1)), np.zeros((10, 1))))
    assert (estimate.value, estimate.low) == (0.0, 0.0)
    assert estimate.high == pytest.approx(1 - 0.05 ** (1 / 10))  # where half the chance of no win at all is 2.5%


def test_ties_make_a_win_rate_surer_than_wins_and_losses_of_the_same_mean():
    decided = np.repeat([1.0, 0.0], [50, 50])[:, None]
    tied = np.repeat([1.0, 0.5, 0.0], [10, 80, 10])[:, None]
    wide, narrow = (estimate.high - estimate.low for estimate in (rate(decided), rate(tied)))
    assert narrow == pytest.approx(wide * math.sqrt(0.2), rel=0.1)  # a fifth of the variance


def test_a_win_rate_without_ties_has_the_interval_of_a_rate_and_one_tie_changes_it_little():
    outcomes = np.repeat([1.0, 0.0], [30, 10])[:, None]
    plain, tied = rate(outcomes), rate(np.where(np.arange(40)[:, None] == 29, 0.5, outcomes))
    low, high = mid_p(np.array(0.75), np.array(40))
    assert ends(plain) == pytest.approx((float(low), float(high)))
    assert ends(tied) == pytest.approx((plain.low - 0.0125, plain.high - 0.0125), abs=0.012)


def test_a_difference_of_rates_near_one_has_width_where_no_prompt_changed():
    base = np.ones((20, 4))
    base[3, 1] = base[7, 2] = 0.0
    estimate = rate_difference(base, base)
    assert estimate.value == 0 and estimate.low < -0.1 and estimate.high > 0.1
    gained = rate_difference(base, np.ones((20, 4)))
    assert gained.value == pytest.approx(0.025) and gained.low < 0 < gained.value < gained.high


def test_a_difference_of_rates_turned_round_has_its_interval_turned_round():
    base, aligned = (np.random.default_rng(5).random((2, 30, 3)) < np.array([0.4, 0.8])[:, None, None]).astype(float)
    there, back = rate_difference(base, aligned), rate_difference(aligned, base)
    assert ends(there) == pytest.approx((-back.high, -back.low))
    assert there.value == pytest.approx(aligned.mean() - base.mean()) and there.low < there.value < there.high


def test_a_bounded_mean_scales_with_its_bound():
    x = np.random.default_rng(1).choice([-2.0, -1.0, 0.0, 1.0, 2.0], (40, 2))
    small, large = bounded_mean(x / 2, 1.0), bounded_mean(x, 2.0)
    assert (2 * small.low, 2 * small.high) == pytest.approx(ends(large))


def test_a_grouped_rate_is_the_rate_where_all_prompts_have_as_many():
    outcomes = np.random.default_rng(2).choice([0.0, 0.5, 1.0], (25, 4))
    grouped = grouped_rate(outcomes.ravel(), np.repeat(np.arange(25), 4))
    assert (grouped.value, *ends(grouped)) == pytest.approx((rate(outcomes).value, *ends(rate(outcomes))))
    assert math.isnan(grouped_rate(np.zeros(0), np.zeros(0, int)).value)


def test_a_grouped_rate_knows_less_where_a_few_prompts_hold_most_of_the_outcomes():
    rng = np.random.default_rng(3)
    even, uneven = np.repeat(np.arange(40), 5), np.repeat(np.arange(40), [81, 81, *[1] * 38])
    right = (rng.random(40) < 0.5).astype(float)
    right[0], right[1] = 1.0, 0.0
    widths = [estimate.high - estimate.low for estimate in (grouped_rate(right[each], each) for each in (even, uneven))]
    assert widths[1] > 1.5 * widths[0]


def test_the_interval_of_a_mean_is_students_t_for_symmetric_values_and_reaches_further_into_a_long_tail():
    x = np.random.default_rng(0).normal(5, 2, (60, 1))
    assert ends(mean(x)) == pytest.approx(stats.t.interval(0.95, 59, x.mean(), stats.sem(x[:, 0])), abs=0.06)
    skewed = np.random.default_rng(0).exponential(1, (30, 1))
    low, high = stats.t.interval(0.95, 29, skewed.mean(), stats.sem(skewed[:, 0]))
    assert mean(skewed).low == pytest.approx(low, abs=0.02) and mean(skewed).high > high + 0.05


def test_the_difference_is_paired_by_prompt():
    rng = np.random.default_rng(0)
    base = rng.normal(0, 10, (40, 2))
    estimate = difference(base, base + 1 + rng.normal(0, 0.1, (40, 2)))
    assert estimate.value == pytest.approx(1.0, abs=0.05) and 0.9 < estimate.low < estimate.high < 1.1


def test_the_ratio_is_of_means_not_a_mean_of_ratios():
    assert ratio(np.array([[1.0], [3.0]]), np.array([[2.0], [2.0]])).value == 1.0


def test_a_ratio_to_zero_is_unknown_rather_than_an_error():
    assert ratio(np.zeros((3, 1)), np.ones((3, 1))).to_dict()["value"] is None


def test_the_bootstrap_repeats_for_a_seed():
    x = np.random.default_rng(0).random((30, 2))
    assert mean(x, seed=3) == mean(x, seed=3)
    assert mean(x, seed=3) != mean(x, seed=4)


def test_a_median_has_no_interval_from_five_prompts_and_one_of_no_width_where_all_scores_agree():
    few, alike = median(np.arange(5.0)[:, None]), median(np.full((8, 2), 3.0))
    assert few.value == 2.0 and not few.known
    assert (alike.value, alike.low, alike.high) == (3.0, 3.0, 3.0)


def test_the_interval_of_a_median_contains_the_true_median_about_95_times_in_100():
    rng = np.random.default_rng(0)
    inside = [(found := median(rng.lognormal(size=(40, 1)))).low <= 1.0 <= found.high for _ in range(400)]
    assert 0.92 < np.mean(inside) < 0.99


def test_a_median_of_images_that_are_alike_within_a_prompt_knows_no_more_than_its_prompts():
    scores = np.random.default_rng(1).normal(size=(40, 1))
    one, four = median(scores), median(np.repeat(scores, 4, 1))
    assert four.high - four.low == pytest.approx(one.high - one.low, rel=0.1)
