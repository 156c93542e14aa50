"""What comparisons say of scores: worked by hand, and against what is known."""

from __future__ import annotations

import json

import numpy as np
import pytest

from palate.records.columns import Rankings
from palate.records.images import StoredImage
from palate.records.ranked import RankedSet, Vote
from palate.reward.comparisons import COMPARED_DIRECTLY, Comparisons, TieThreshold, order_of, spearman

PICTURES = tuple(StoredImage(bytes([number])) for number in range(4))


def ranked(prompt: str, ranks: tuple[int, ...], *votes: tuple[int, ...]) -> RankedSet:
    cast = tuple(Vote(str(number), vote) for number, vote in enumerate(votes))
    return RankedSet(prompt, PICTURES[: len(ranks)], ranks, cast)


def shares_of(each: RankedSet, n: int, votes: bool = True) -> np.ndarray:
    """Of one set among others of other sizes."""
    others = [ranked("o", (1, 2), (2, 1)), ranked("o", (1, 2, 3, 4), (4, 3, 2, 1), (1, 1, 1, 1))]
    return Rankings.of([others[0], each, others[1]]).shares(np.array([0, 1, 2]), max(n, 4), votes)[1, :n, :n]


def pairs(margin: list[float], label: list[float], share: list[float] | None = None, prompt: list[int] | None = None):
    columns = [prompt or list(range(len(margin))), margin, label, share or label]
    return Comparisons(*(np.array(column) for column in columns))


def test_shares_count_votes_with_ties_as_halves() -> None:
    share = shares_of(ranked("p", (1, 2, 3), (1, 2, 3), (2, 1, 1), (1, 1, 2)), 4)
    assert share[0, 1] == pytest.approx((1 + 0 + 0.5) / 3)
    assert share[1, 2] == pytest.approx((1 + 0.5 + 1) / 3)
    assert share[1, 0] == pytest.approx(1 - share[0, 1])
    assert np.isnan(share[3]).all() and np.isnan(share[:, 3]).all() and np.isnan(np.diag(share)).all()


def test_shares_follow_the_ranking_when_votes_are_not_used() -> None:
    assert shares_of(ranked("p", (2, 1), (1, 2)), 2, votes=False)[0, 1] == 0
    assert shares_of(ranked("p", (1, 1)), 2)[0, 1] == 0.5
    assert np.isnan(shares_of(RankedSet("p", PICTURES[:2]), 2)).all()


def test_accuracy_is_the_share_of_strict_pairs_in_the_right_order() -> None:
    found = pairs([2.0, -1.0, 0.0, 0.3], [1, 1, 0, 0.5]).accuracy()
    assert found.value == pytest.approx((1 + 0 + 0.5) / 3) and found.n == 3


def test_agreement_counts_every_vote() -> None:
    assert pairs([1.0, -1.0], [1, 0], [0.8, 0.4]).agreement().value == pytest.approx((0.8 + 0.6) / 2)


def test_the_interval_resamples_prompts_not_pairs() -> None:
    rng = np.random.default_rng(0)
    right = np.repeat(rng.random(30) < 0.7, 20)  # all pairs of a prompt are alike
    margin, prompt = np.where(right, 1.0, -1.0).tolist(), np.repeat(np.arange(30), 20).tolist()
    ones = [1.0] * len(margin)
    clustered, independent = pairs(margin, ones, prompt=prompt).accuracy(), pairs(margin, ones).accuracy()
    assert clustered.value == pytest.approx(independent.value)
    assert clustered.high - clustered.low > 3 * (independent.high - independent.low)


@pytest.mark.parametrize(
    ("margin", "label", "points"),
    [(2.0, 1, 1), (2.0, 0, 0), (0.1, 0.5, 1), (0.1, 1, 0.5), (2.0, 0.5, 0.5), (-2.0, 0, 1)],
)
def test_accuracy_with_ties_gives_a_point_for_the_answer_and_half_for_a_tie(
    margin: float, label: float, points: float
) -> None:
    assert pairs([margin], [label]).with_ties(0.5).value == points


def test_the_tie_threshold_separates_ties_from_the_rest() -> None:
    margin = [0.05, -0.1, 0.2, 1.0, -2.0, 3.0]
    label = [0.5, 0.5, 0.5, 1.0, 0.0, 1.0]
    threshold = pairs(margin, label).tie_threshold()
    assert threshold is not None and 0.2 < threshold <= 1.0
    assert pairs(margin, label).with_ties(threshold).value == 1
    assert pairs([1.0], [1.0]).tie_threshold() is None
    everything = pairs([1.0, -2.0], [0.5, 0.5])
    assert everything.with_ties(everything.tie_threshold() or 0).value == 1


def test_margins_that_are_log_odds_are_calibrated() -> None:
    rng = np.random.default_rng(1)
    margin = rng.normal(0, 2, 40_000)
    label = (rng.random(40_000) < 1 / (1 + np.exp(-margin))).astype(float)
    found = Comparisons(np.arange(40_000), margin, label, label).calibration()
    assert found["error"] < 0.01 and found["slope"] == pytest.approx(1, abs=0.03)
    overconfident = Comparisons(np.arange(40_000), 4 * margin, label, label).calibration()
    assert overconfident["error"] > 0.1 and overconfident["slope"] == pytest.approx(0.25, abs=0.02)
    assert sum(each["pairs"] for each in found["curve"]) == 40_000


def test_comparisons_match_scores_with_people_s_rankings() -> None:
    sets = [ranked("p", (1, 2)), ranked("q", (2, 1, 2), (2, 1, 3), (1, 2, 3)), ranked("p", (1, 1))]
    found = Comparisons.of(Rankings.of(sets), np.array([[1.0, 0.0, 9.0], [0.0, 5.0, 1.0], [0.3, 0.3, 9.0]]))
    assert found.prompt.tolist() == [0, 1, 1, 1, 0]
    assert found.margin.tolist() == [1.0, -5.0, -1.0, 4.0, 0.0]
    assert found.label.tolist() == [1.0, 0.0, 0.5, 1.0, 0.5]
    assert found.share.tolist() == [1.0, 0.5, 1.0, 1.0, 0.5]
    assert found.summary()["ties"] == 2


def test_spearman_is_the_mean_over_sets_of_three_or_more() -> None:
    sets = [ranked("p", (1, 2, 3)), ranked("q", (1, 2, 3)), ranked("r", (1, 2)), ranked("s", (1, 1, 1))]
    scores = np.array([[3.0, 2.0, 1.0], [1.0, 2.0, 3.0], [1.0, 0.0, 0.0], [1.0, 2.0, 3.0]])
    assert spearman(Rankings.of(sets), scores) == pytest.approx(0.0)
    assert spearman(Rankings.of(sets[2:3]), scores[2:3]) is None


def test_graded_images_are_ordered_over_all_and_within_prompts() -> None:
    found = order_of(np.array([0.9, 0.1, 0.2, 0.8]), np.array([1.0, 0.0, 1.0, 0.0]), np.array([0, 0, 1, 1]))
    assert found["pairs"] == 2 and found["pair accuracy"]["value"] == 0.5
    assert "spearman" not in order_of(np.array([0.9, 0.1]), np.array([1.0, 1.0]), np.array([0, 0]))


def test_a_summary_has_no_accuracy_where_no_pair_has_a_winner() -> None:
    found = pairs([0.0, 1.0], [0.5, 0.5]).summary()
    assert "accuracy" not in found and found["ties"] == 2 and found["agreement with votes"]["value"] == 0.5
    json.dumps(found, allow_nan=False)


def test_a_threshold_chosen_on_the_measured_pairs_is_reported_as_such() -> None:
    measured = pairs([0.05, -0.1, 1.0], [0.5, 0.5, 1.0])
    assert measured.summary()["tie threshold chosen on"] == "these pairs"
    given = measured.summary(TieThreshold(0.07, "folds"))
    assert (given["tie threshold"], given["tie threshold chosen on"]) == (0.07, "folds")
    assert given["accuracy with ties"]["value"] == pytest.approx((1 + 0.5 + 1) / 3)
    assert "tie threshold" not in pairs([1.0], [1.0]).summary()


@pytest.mark.parametrize("n", [2, COMPARED_DIRECTLY, COMPARED_DIRECTLY + 1, 300])
def test_sorting_counts_the_same_pairs_as_comparing_them_one_by_one(n: int) -> None:
    """Sorting counts what comparing all pairs counts, ties of scores and of grades included."""
    rng = np.random.default_rng(n)
    score, grade = np.round(rng.normal(size=n), 1), rng.integers(0, 4, n) / 3
    first, second = np.triu_indices(n, 1)
    compared = grade[first] != grade[second]
    signs = [np.sign(each[first] - each[second])[compared] for each in (score, grade)]
    found = order_of(score, grade, np.zeros(n, dtype=int))
    assert found["pairs"] == compared.sum()
    assert found["pair accuracy"]["value"] == pytest.approx((signs[0] * signs[1] + 1).mean() / 2, abs=1e-12)


def test_scores_that_all_tie_are_half_right() -> None:
    n = COMPARED_DIRECTLY + 10
    found = order_of(np.zeros(n), np.arange(n) / n, np.zeros(n, dtype=int))
    assert found["pair accuracy"]["value"] == 0.5 and "spearman" not in found


def test_a_hundred_thousand_images_are_ordered_without_comparing_all_of_them() -> None:
    """All pairs would be five billion: tens of gigabytes."""
    n = 100_000
    grade = np.linspace(0, 1, n)
    found = order_of(grade, grade, np.zeros(n, dtype=int))
    assert found["pairs"] == n * (n - 1) // 2 and found["pair accuracy"]["value"] == 1.0
