import json

import numpy as np
import pytest

from palate.core.finite import NotFiniteError
from palate.evaluate.compare import Comparison, Paired, Verdict, change, gap, summarise_comparison
from palate.evaluate.judge import find_judge

ESTIMATE = {"value", "low", "high", "n"}


def test_paired_values_must_have_one_shape():
    with pytest.raises(ValueError, match=r"\(2, 3\) and \(3, 2\)"):
        Paired(np.zeros((2, 3)), np.zeros((3, 2)))


def test_the_change_of_a_rate_is_worked_by_hand():
    found = change("faithful", Paired(np.array([[0.0], [1.0]]), np.array([[1.0], [1.0]])))
    assert (found.base.value, found.aligned.value, found.difference.value) == (0.5, 1.0, 0.5)


def test_the_summary_has_the_promised_keys(comparison):
    summary = summarise_comparison(comparison, {"align": 3.0})
    assert list(summary) == ["faithful", "appeal", "win_rate", "diversity", "seconds", "judge", "also"]
    for measure in ("faithful", "appeal"):
        assert set(summary[measure]) == {"base", "aligned", "difference"}
        assert all(set(estimate) == ESTIMATE for estimate in summary[measure].values())
    assert set(summary["win_rate"]) == ESTIMATE | {"wins", "ties", "losses"}
    assert set(summary["diversity"]) == {"base", "aligned", "ratio"}
    assert (summary["seconds"], summary["judge"], set(summary["also"])) == ({"align": 3.0}, "auditor", {"teacher"})


def test_the_summary_is_strict_json_even_for_one_prompt_with_one_image():
    one = Paired(np.zeros((1, 1)), np.ones((1, 1)))
    unknown = Paired(np.full((1, 1), np.nan), np.full((1, 1), np.nan))
    verdict = Verdict("auditor", one, {"faithful": one})
    comparison = Comparison("a", "b", ("p",), {"base": ((),), "aligned": ((),)}, (verdict,), unknown)
    summary = json.loads(json.dumps(summarise_comparison(comparison), allow_nan=False))
    assert summary["win_rate"]["wins"] == summary["win_rate"]["n"] == 1
    assert summary["diversity"]["ratio"]["value"] is None


def test_wins_ties_and_losses_add_up(comparison):
    rate = summarise_comparison(comparison)["win_rate"]
    assert rate["wins"] + rate["ties"] + rate["losses"] == rate["n"]
    assert rate["value"] == pytest.approx((rate["wins"] + rate["ties"] / 2) / rate["n"])


def test_a_verdict_with_a_reading_that_is_no_number_is_refused_by_judge_measure_and_place():
    right, wrong = np.ones((3, 2)), np.ones((3, 2))
    wrong[2, 1] = np.nan
    with pytest.raises(
        NotFiniteError, match=r"appeal by the judge auditor: not finite: 'aligned': .* \[2, 1\] \(nan\)"
    ):
        Verdict("auditor", Paired(right, right), {"appeal": Paired(right, wrong)})
    with pytest.raises(NotFiniteError, match="preference by the judge clip:x"):
        Verdict("clip:x", Paired(wrong, right), {})


def test_differences_and_gaps_of_rates_have_width_where_no_image_changed():
    same, score = Paired(np.ones((20, 2)), np.ones((20, 2))), Paired(np.zeros((20, 2)), np.ones((20, 2)))
    auditor, teacher = (Verdict(name, score, {"faithful": same}) for name in ("auditor", "teacher"))
    assert change("faithful", same).difference.low < -0.1
    for between in gap(auditor, teacher).values():
        assert between.value == 0 and between.low < 0 < between.high


def test_a_teacher_that_sees_more_gain_than_the_auditor_shows_a_gap():
    nothing, gained = np.zeros((5, 2)), np.ones((5, 2))
    auditor = Verdict("auditor", Paired(nothing, nothing), {"faithful": Paired(nothing, nothing)})
    teacher = Verdict("teacher", Paired(nothing, gained), {"faithful": Paired(nothing, gained)})
    found = gap(auditor, teacher)
    assert (found["faithful"].value, found["win_rate"].value) == (1.0, 0.5)


def test_a_world_judge_is_its_utility_and_seven_measures():
    judge = find_judge("auditor")
    assert judge.preference == "auditor:utility"
    assert judge.measures["unsafe"] == "auditor:unsafe"
    assert len(judge.specs) == 8


def test_any_other_judge_is_one_scorer():
    assert find_judge("clip:tiny-clip").specs == ("clip:tiny-clip",)
