"""Several scorers' scores into one ranking: a vote each, a weighted sum, or what all agree on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from pictures import image_folder

from palate.cli.main import main
from palate.core.errors import InputError
from palate.core.runs import RunFolder
from palate.prefer.from_scores import (
    ALL_TIED,
    FromScoresConfig,
    Scale,
    ScorerCombination,
    prefer_from_scores,
    rank_agreed,
    rank_scores,
)
from palate.prefer.load import load_preferences
from palate.prefer.stage import PREFERENCES
from palate.records.ranked import Vote
from palate.score.scored import read_summaries
from palate.score.stage import ScoreConfig, score
from palate.score.weighted import weighted_mean

UP, DOWN = Scale(1, 1.0), Scale(-1, 1.0)
BRIGHT, COLOURFUL = "image:brightness", "image:colourfulness"


@pytest.fixture(scope="module")
def scores(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of `palate score`.

    By brightness red 0.30, green 0.29, blue 0.11; yellow 0.89, purple 0.21, white 1.00;
    by colourfulness  86,         43,        77;           77,          43,         0.
    """
    root = tmp_path_factory.mktemp("from-scores")
    images = image_folder(root / "images", ["a red star"] * 3 + ["two blue circles"] * 3, (8, 8))
    return score(ScoreConfig(images=images, scorer=(BRIGHT, COLOURFUL), out=root / "scores"))


def ranks(run: Path) -> list[tuple[int, ...] | None]:
    return [each.ranks for each in load_preferences(run)]


def test_the_sum_is_the_mean_by_weight_of_scores_in_units_of_their_spread() -> None:
    # (1/4) 2/1 + (3/4) 10/5 = 2 and (1/4) 4/1 + (3/4) 0/5 = 1
    assert weighted_mean([[2.0, 4.0], [10.0, 0.0]], [1.0, 5.0], [1.0, 3.0]) == pytest.approx([2.0, 1.0])
    rng = np.random.default_rng(0)
    scores, weights = rng.normal(5, [[1.0], [30.0], [0.1]], (3, 50)), [2.0, 1.0, 0.5]
    z = (scores - scores.mean(1, keepdims=True)) / scores.std(1, keepdims=True)
    ours = np.array(weighted_mean(scores.tolist(), scores.std(1).tolist(), weights))
    np.testing.assert_allclose(ours - ours.mean(), np.average(z, axis=0, weights=weights), atol=1e-12)


def test_a_sum_is_normalised_over_the_run_or_within_the_set() -> None:
    scores, scales = {"x": [1.0, 3.0], "y": [50.0, 10.0]}, {"x": Scale(1, 1.0), "y": Scale(1, 100.0)}
    given = {"combine": "sum", "weights": (1.0, 2.0)}
    # over the run x differs by 2 / 1 and y by 2 * -40 / 100: the second wins; in the set by 1 * 2 and 2 * -2: the first
    (vote,) = ScorerCombination(**given).votes(scores, scales)
    assert vote.ranks == (2, 1)
    (vote,) = ScorerCombination(**given, normalise="prompt").votes(scores, scales)
    assert vote.ranks == (1, 2)
    (vote,) = ScorerCombination(**given, normalise="prompt").votes(scores, {**scales, "y": Scale(-1, 100.0)})
    assert vote.ranks == (2, 1)
    with pytest.raises(ValueError, match="normalise is for combine sum, not votes"):
        ScorerCombination(normalise="prompt")


def test_a_scorer_that_never_differs_says_nothing_in_a_sum() -> None:
    assert weighted_mean([[7.0, 7.0], [0.0, 1.0]], [0.0, 1.0], [1.0, 1.0]) == [0.0, 0.5]


@pytest.mark.parametrize(
    "asked, ranks",
    [
        ({}, (2, 1, 3)),  # (0 + 1) / 2, (2 + 0) / 2 and -3 / 2
        ({"weights": (1.0, 3.0)}, (1, 2, 3)),  # 3 / 4, 2 / 4 and -9 / 4
        ({"weights": (2.0, 6.0)}, (1, 2, 3)),
        ({"weights": (1.0, 3.0), "margin": 0.25}, (1, 1, 2)),
        ({"weights": (1.0, 3.0), "margin": (0.2,)}, (1, 2, 3)),
    ],
)
def test_a_sum_is_one_vote_of_all_scorers_by_their_weights(asked: dict, ranks: tuple) -> None:
    scores = {"a": [0.0, 20.0, 0.0], "b": [-1.0, 0.0, 3.0]}
    votes = ScorerCombination(combine="sum", **asked).votes(scores, {"a": Scale(1, 10.0), "b": DOWN})
    assert votes == [Vote("a + b", ranks)]


def test_each_scorer_can_have_a_margin_of_its_own() -> None:
    scores = {"a": [3.0, 2.0, 1.0], "b": [3.0, 2.0, 1.0]}
    votes = ScorerCombination(margin=(1.0, 0.5)).votes(scores, {"a": UP, "b": DOWN})
    assert votes == [Vote("a", (1, 1, 2)), Vote("b", (3, 2, 1))]
    (agreed,) = ScorerCombination(combine="agree", margin=(1.0, 0.5)).votes(scores, {"a": UP, "b": UP})
    assert agreed == Vote("a & b", (1, 1, 1))  # a puts none more than 1 above the next
    (agreed,) = ScorerCombination(combine="agree", margin=(0.9, 0.5)).votes(scores, {"a": UP, "b": UP})
    assert agreed.ranks == (1, 2, 3)


@pytest.mark.parametrize(
    "columns, margins, ranks",
    [
        ([[3, 2, 1], [30, 20, 10]], [0, 0], (1, 2, 3)),
        ([[3, 2, 1], [30, 10, 20]], [0, 0], (1, 2, 2)),
        ([[3, 2, 1], [10, 20, 30]], [0, 0], (1, 1, 1)),
        ([[3, 2, 1], [20, 30, 10]], [0, 0], (1, 1, 2)),
        ([[3, 2, 1], [2, 3, 1.5], [3, 2, 2]], [0, 0, 0], (1, 1, 1)),  # agreed is a > c alone: b is open against both
        ([[3, 2, 2], [3, 2, 1]], [0, 0], (1, 2, 2)),  # equal for one is agreed by none
        ([[3, 2.5, 2]], [0.5], (1, 1, 1)),  # within the margin of one another, link by link
        ([[3, 2.5, 2]], [0.4], (1, 2, 3)),
    ],
)
def test_images_are_apart_where_every_scorer_sees_a_gap(columns: list, margins: list, ranks: tuple) -> None:
    assert rank_agreed(columns, margins) == ranks


def test_agreement_with_oneself_is_one_s_ranking() -> None:
    scores = np.random.default_rng(1).integers(0, 5, 8).astype(float).tolist()
    assert rank_agreed([scores], [0.0]) == rank_agreed([scores] * 3, [0.0] * 3) == rank_scores(scores)


def random_scores() -> list[tuple[list[list[float]], list[float]]]:
    """Scores of 1 to 3 scorers on 2 to 7 images, some with ties, most of a common taste, with margins."""
    rng, drawn = np.random.default_rng(0), []
    for _ in range(500):
        k, n = rng.integers(1, 4), rng.integers(2, 8)
        scores = rng.normal(0, 3, n) + rng.normal(0, rng.choice([0.1, 1.0, 5.0]), (k, n))
        scores = np.round(scores) if rng.random() < 0.3 else scores
        drawn.append((scores.tolist(), rng.choice([0.0, 0.5, 1.0], k).tolist()))
    return drawn


def agreed_pairs(columns: Sequence[Sequence[float]], margins: Sequence[float]) -> np.ndarray:
    """Whether every scorer puts image i above image j by more than its margin, [n, n], by the definition."""
    scores = np.array(columns)
    return (scores[:, :, None] - scores[:, None, :] > np.array(margins)[:, None, None]).all(0)


def test_images_are_only_apart_where_all_agree_and_no_agreed_pair_is_reversed() -> None:
    strict = 0
    for columns, margins in random_scores():
        found, agreed = np.array(rank_agreed(columns, margins)), agreed_pairs(columns, margins)
        above = found[:, None] < found[None, :]
        assert not (above & ~agreed).any()
        assert not (above & agreed.T).any()
        assert sorted(set(found.tolist())) == list(range(1, max(found) + 1))
        strict += above.sum()
    assert strict > 1000  # it is no ranking of ties alone


def test_no_finer_ranking_claims_agreed_pairs_alone() -> None:
    from scipy.sparse.csgraph import connected_components

    for columns, margins in random_scores():
        agreed = agreed_pairs(columns, margins)
        _, tied = connected_components(~agreed & ~agreed.T, directed=False)  # what any such ranking must tie
        found = np.array(rank_agreed(columns, margins))
        assert ((tied[:, None] == tied) == (found[:, None] == found)).all()


@pytest.mark.parametrize(
    "asked, expected, votes",
    [
        ({}, [(1, 2, 2), (1, 3, 2)], 2),
        ({"combine": "agree"}, [(1, 2, 2), (1, 1, 1)], 1),  # white is open against both others
        ({"combine": "agree", "margin": (0.01, 1.0)}, [(1, 1, 1), (1, 1, 1)], 1),
        ({"combine": "sum"}, [(1, 3, 2), (1, 3, 2)], 1),
        ({"combine": "sum", "weights": (9.0, 1.0)}, [(1, 2, 3), (2, 3, 1)], 1),
    ],
)
def test_the_run_holds_the_ranking_and_says_how_many_sets_are_ties_alone(
    scores: Path, tmp_path: Path, asked: dict, expected: list, votes: int
) -> None:
    run = prefer_from_scores(FromScoresConfig(scores=scores, out=tmp_path / "run", **asked))
    assert ranks(run) == expected
    summary = RunFolder(run).finished or {}
    assert (summary[ALL_TIED], summary["votes"]) == (sum(max(each) == 1 for each in expected), 2 * votes)
    assert set(load_preferences(run)[0].scores) == {BRIGHT, COLOURFUL}


def test_a_sum_is_in_units_of_the_whole_run_s_spread(scores: Path, tmp_path: Path) -> None:
    # yellow and white differ by 0.114 in brightness, all images by 0.35
    gap = 0.114 / read_summaries(scores)[BRIGHT].spread
    for margin, expected in ((gap - 0.01, (2, 3, 1)), (gap + 0.01, (1, 2, 1))):
        asked = FromScoresConfig(
            scores=scores, out=tmp_path / f"{margin}", column=(BRIGHT,), combine="sum", margin=margin
        )
        assert ranks(prefer_from_scores(asked))[1] == expected


@pytest.mark.parametrize(
    "asked, complaint",
    [
        ({"weights": (1.0,)}, "weights are for combine sum, not votes; give that, or leave them out"),
        ({"combine": "agree", "weights": (1.0, 1.0)}, "weights are for combine sum, not agree"),
        ({"combine": "sum", "weights": (1.0, 0.0)}, r"weights must be above zero, not \(1.0, 0.0\)"),
        ({"combine": "sum", "margin": (1.0, 2.0)}, "combine sum has one margin, not 2"),
        ({"margin": (0.1, -1.0)}, r"margin must be zero or above, not \(0.1, -1.0\)"),
        ({"margin": ()}, r"margin must be zero or above, not \(\)"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(asked: dict, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        FromScoresConfig(scores=Path("s"), out=Path("o"), **asked)


@pytest.mark.parametrize("column", [(), (BRIGHT, COLOURFUL)])
@pytest.mark.parametrize("asked", [{"combine": "sum", "weights": (1.0, 2.0, 3.0)}, {"margin": (0.1, 0.2, 0.3)}])
def test_weights_and_margins_are_one_a_scorer(scores: Path, tmp_path: Path, column: tuple, asked: dict) -> None:
    with pytest.raises(InputError, match=f"has 3 values for 2 scorers .{BRIGHT}, {COLOURFUL}.; give one each"):
        prefer_from_scores(FromScoresConfig(scores=scores, out=tmp_path / "run", column=column, **asked))
    assert not (tmp_path / "run").exists()


def test_the_command_takes_one_margin_for_all_or_one_each(
    scores: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def command(out: str, *flags: str) -> int:
        return main(["prefer", "from-scores", "--scores", str(scores), "--out", str(tmp_path / out), *flags])

    assert command("one", "--margin", "0.01") == 0
    prefer_from_scores(FromScoresConfig(scores=scores, out=tmp_path / "one", margin=0.01))  # the same run
    assert command("each", "--margin", "0.01", "1", "--combine", "agree") == 0
    assert f"2 {ALL_TIED}" in capsys.readouterr().out
    assert command("sum", "--combine", "sum", "--weights", "9", "1") == 0
    assert (tmp_path / "sum" / PREFERENCES).is_file()
    assert command("wrong", "--weights", "1", "2") == 2
    assert "weights are for combine sum, not votes" in capsys.readouterr().err
