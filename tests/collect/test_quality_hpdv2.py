"""Ten annotators' rankings of thirty prompts: measures of a study that replays them, and of the file without one."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pytest
from collect.saying import answer_all
from scipy.optimize import minimize

from palate.collect.quality import measures as quality_measures
from palate.collect.quality.measures import bradley_terry_strengths, resampled, strengths
from palate.collect.quality.study_quality import quality
from palate.prefer.load import load_preferences
from palate.records.ranked import RankedSet, rank

NINE = 9


@pytest.fixture
def hpdv2(shared_data) -> list[RankedSet]:
    return load_preferences(shared_data / "hpdv2_test30")


def ordinal_alpha(units: Sequence[Sequence[int]]) -> float:
    """Krippendorff's alpha computed from its definition, pair by pair."""
    total = Counter(label for unit in units for label in unit)
    below = {label: sum(n for each, n in total.items() if each < label) + total[label] / 2 for label in total}

    def delta(a: int, b: int) -> float:
        return (below[a] - below[b]) ** 2

    observed = sum(2 * delta(a, b) / (len(unit) - 1) for unit in units for a, b in combinations(unit, 2))
    expected = sum(total[a] * total[b] * delta(a, b) for a in total for b in total) / (total.total() - 1)
    return 1 - observed / expected


def pairs_of(each: RankedSet, images: int) -> list[tuple[str, str, tuple[int, ...]]]:
    """For every two images: their systems, and whether each rater prefers the first (1) or the second (-1)."""
    ranks = [vote.ranks for vote in each.votes]
    return [
        (each.systems[a], each.systems[b], tuple(1 if some[a] < some[b] else -1 for some in ranks))
        for a, b in combinations(range(images), 2)
    ]


def with_the_majority_of_nine(sets: Sequence[RankedSet], images: int) -> float:
    agreed = [
        sign * (sum(signs) - sign) > 0
        for each in sets
        for _, _, signs in pairs_of(each, min(images, len(each.images)))
        for sign in signs
    ]
    return float(np.mean(agreed))


def likeliest(sets: Sequence[RankedSet], images: int) -> dict[str, float]:
    """Bradley-Terry's strengths as the maximum of the likelihood, found by a general optimiser."""
    won: dict[tuple[str, str], int] = defaultdict(int)
    for each in sets:
        for a, b, signs in pairs_of(each, min(images, len(each.images))):
            won[a, b] += signs.count(1)
            won[b, a] += signs.count(-1)
    names = sorted({name for pair in won for name in pair})
    a, b = np.array([[names.index(name) for name in pair] for pair in won]).T
    count = np.array(list(won.values()), float)
    found = minimize(lambda s: count @ np.logaddexp(0, s[b] - s[a]), np.zeros(len(names)), options={"gtol": 1e-3})
    return dict(zip(names, found.x - found.x.mean()))


def test_the_measures_of_replayed_rankings_equal_those_of_the_file(study, hpdv2, shared_data):
    source = str(shared_data / "hpdv2_test30")
    made = study(preferences=source, raters=10, raters_per_item=10, task="ranking", n=NINE, mirror=0.0)
    votes = {each.prompt: [rank(vote.ranks[:NINE]) for vote in each.votes] for each in hpdv2}
    answer_all(made, lambda item, rater, _: votes[item.prompt][rater])
    found = quality(made)

    alpha, majority = found.agreement[0].alpha, found.agreement[0].majority
    units = [[ranks[place] for ranks in each] for each in votes.values() for place in range(NINE)]
    assert alpha.value == pytest.approx(ordinal_alpha(units), abs=1e-9)
    assert alpha.low < alpha.value < alpha.high and alpha.n == 30 * NINE
    assert majority.value == pytest.approx(with_the_majority_of_nine(hpdv2, NINE), abs=1e-12)
    assert majority.low < majority.value < majority.high and majority.n == 30 * 36 * 10

    standing, expected = found.standings[0], likeliest(hpdv2, NINE)
    assert standing.systems == tuple(sorted(expected, key=lambda name: -expected[name]))
    for name, strength in zip(standing.systems, standing.strengths):
        assert strength.value == pytest.approx(expected[name], abs=1e-3)  # as near as the optimiser comes
        assert strength.low < strength.value < strength.high


def test_the_measures_of_the_thirty_prompts_are_close_to_the_published_ones(hpdv2):
    of_all = ordinal_alpha([[v.ranks[i] for v in each.votes] for each in hpdv2 for i in range(len(each.images))])
    assert of_all == pytest.approx(0.726, abs=0.01)
    assert with_the_majority_of_nine(hpdv2, 10) == pytest.approx(0.839, abs=0.01)


def test_an_interval_that_resamples_prompts_is_far_wider_than_one_of_rows(hpdv2, monkeypatch):
    monkeypatch.setattr(quality_measures, "RESAMPLES", 400)
    names = sorted({name for each in hpdv2 for name in each.systems})
    by_prompt, rows = np.zeros((len(hpdv2), 10, 10)), []
    for prompt, each in enumerate(hpdv2):
        for a, b, signs in pairs_of(each, len(each.images)):
            for sign in signs:
                winner, loser = (names.index(name) for name in ((a, b) if sign > 0 else (b, a)))
                by_prompt[prompt, winner, loser] += 1
                rows.append((winner, loser))
    one_row = np.zeros((len(rows), 10, 10), np.float32)
    one_row[(np.arange(len(rows)), *np.array(rows).T)] = 1
    start = bradley_terry_strengths(by_prompt.sum(0))
    wide, narrow = (
        np.subtract(*resampled(some, lambda s: strengths(s, start), 0)[::-1]) for some in (by_prompt, one_row)
    )
    assert len(rows) == 11_520
    assert narrow[0] == pytest.approx(0.18, abs=0.02)
    assert 2.5 < np.median(wide / narrow) < 5  # 0.18 against 0.55 for one system of the published forty
