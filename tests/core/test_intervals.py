"""The ends of intervals: against closed forms and scipy, and how often they hold the truth in simulated evaluations."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from palate.core.intervals import bounded, effective_images, mid_p, moments, studentised

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "coverage.py"


@pytest.fixture(scope="module")
def coverage():
    """The benchmark as a module."""
    spec = importlib.util.spec_from_file_location("coverage_benchmark", SCRIPT)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("count", "n"), [(1, 8), (3, 7), (50, 100), (19, 20), (148, 150)])
def test_the_ends_of_mid_p_are_where_a_binomial_count_is_as_rare_as_it_says(count, n):
    low, high = (float(end) for end in mid_p(np.array(count / n), np.array(n)))
    above = stats.binom.sf(count, n, low) + stats.binom.pmf(count, n, low) / 2
    below = stats.binom.cdf(count - 1, n, high) + stats.binom.pmf(count, n, high) / 2
    assert (above, below) == pytest.approx((0.025, 0.025), abs=1e-9)


@pytest.mark.parametrize("n", [1, 6, 100])
def test_mid_p_of_none_and_of_all_ends_at_zero_and_one(n):
    low, high = mid_p(np.array([0.0, 1.0]), np.array([n, n]))
    assert (low[0], high[1]) == (0, 1)
    assert (high[0], low[1]) == pytest.approx((1 - 0.05 ** (1 / n), 0.05 ** (1 / n)))


def test_mid_p_lies_inside_clopper_pearson():
    exact = stats.binomtest(7, 40).proportion_ci(method="exact")
    low, high = mid_p(np.array(7 / 40), np.array(40))
    assert exact.low < low < 7 / 40 < high < exact.high


def test_many_experiments_at_once_have_the_ends_of_each_alone():
    x = np.random.default_rng(0).choice([-1.0, 0.0, 1.0], (5, 12, 3))
    low, high = bounded(moments(x))
    np.testing.assert_allclose([bounded(moments(each)) for each in x], np.stack([low, high], 1), atol=1e-11)
    resamples = [np.random.default_rng(1).multinomial(12, np.full(12, 1 / 12), 500).astype(float)]
    values = np.random.default_rng(2).exponential(1, (5, 12))
    low, high = studentised(np.ones_like(values), values, resamples)
    alone = [studentised(np.ones(12), each, resamples) for each in values]
    np.testing.assert_allclose(alone, np.stack([low, high], 1))


def test_one_image_a_prompt_is_one_trial_a_prompt():
    assert effective_images(np.array(0.2), np.array(0.5), 30, 30) == 30


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e9])
def test_the_ends_of_a_mean_move_with_scale_and_offset(scale):
    rng = np.random.default_rng(3)
    resamples = [rng.multinomial(20, np.full(20, 1 / 20), 999).astype(float)]
    values = rng.exponential(1, 20)
    plain = np.array(studentised(np.ones(20), values, resamples))
    moved = np.array(studentised(np.ones(20), scale * (values + 1000), resamples))
    assert moved / scale - 1000 == pytest.approx(plain, abs=1e-6)


QUICK = (
    ("rate", 10, "rate 0.9, 1 images, alike 0.0"),
    ("rate", 50, "rate 0.99, 1 images, alike 0.0"),
    ("rate", 20, "rate 0.7, 4 images, alike 0.3"),
    ("rate", 50, "rate 0.9, 4 images, alike 0.7"),
    ("win rate", 20, "rate 0.6, ties 0.5, 4 images, alike 0.3"),
    ("win rate", 50, "rate 0.75, ties 0.2, 2 images, alike 0.7"),
    ("difference of rates", 20, "0.967 to 0.988, 4 images, alike 0.3 and 0.3"),
    ("difference of rates", 50, "0.5 to 0.8, 4 images, alike 0.3 and 0.3"),
    ("gap of rates", 50, "0.5 to 0.8, flattered 0.1, 4 images, alike 0.3"),
    ("mean", 20, "exponential (skewness 2), 1 images, alike 0.0"),
    ("mean", 20, "ceiling (beta 9, 0.6; skewness -1.8), 4 images, alike 0.3"),
    ("mean", 50, "heavy tails (Student's t, 3), 1 images, alike 0.0"),
    ("ratio", 20, "lognormal, deviations 0.5 and 0.5, correlation 0.0"),
)


@pytest.mark.parametrize(("of", "prompts", "name"), QUICK)
def test_the_intervals_hold_the_truth_as_often_as_they_say(coverage, of, prompts, name):
    """800 experiments: a coverage of 95% is measured as less than 92.7% once in a thousand times."""
    (condition,) = (each for each in coverage.every_condition() if (each.of, each.name) == (of, name))
    found = coverage.measure(condition, prompts, seed=1, experiments=800)
    assert found.covered >= 0.927
    assert found.unknown < 0.01


@pytest.mark.parametrize(
    ("name", "prompts", "limit"),
    [("rate 0.6, ties 0.8, 1 images, alike 0.0", 50, 0.975), ("rate 0.5, ties 0.5, 4 images, alike 0.3", 50, 0.975)],
)
def test_ties_do_not_make_a_win_rate_cover_too_much(coverage, name, prompts, limit):
    (condition,) = (each for each in coverage.win_rates() if each.name == name)
    assert coverage.measure(condition, prompts, seed=2, experiments=800).covered < limit


def test_an_interval_that_takes_images_of_a_prompt_for_independent_fails():
    rng = np.random.default_rng(1)
    x = 2 * (rng.random((500, 50, 4)) < rng.beta(0.6, 0.4, (500, 50, 1))).astype(float) - 1
    naive, ours = (np.array(bounded(moments(each))) for each in (x.reshape(500, 200, 1), x))
    covered = [np.mean((low <= 0.2) & (0.2 <= high)) for low, high in (naive, ours)]
    assert covered[0] < 0.85 and covered[1] > 0.93


@pytest.mark.slow
def test_every_interval_keeps_what_the_documentation_claims(coverage):
    """The whole table of docs/evaluate.md, with fewer experiments; minutes."""
    for condition in coverage.every_condition():
        for prompts in coverage.PROMPTS:
            found = coverage.measure(condition, prompts, seed=3, experiments=400)
            assert found.covered > coverage.claimed(condition, prompts) - 0.045, (condition.of, condition.name, prompts)
