"""The rules that put a run's curves into words, on curves worked by hand."""

import pytest

from palate.align.diagnosis import ADVICE, RULES, diagnose
from palate.align.evidence import evidence_of, noise_of, roles_of

COUNT = 20


def curve(**metrics):
    """Lines of metrics; each is given by its first and its last value, between which it moves in equal steps."""
    at = [number / (COUNT - 1) for number in range(COUNT)]
    return [
        {"step": 10 * number + 10, **{name: a + (b - a) * at[number] for name, (a, b) in metrics.items()}}
        for number in range(COUNT)
    ]


def pairs(winner, loser, loss=(0.69, 0.6), accuracy=(0.5, 0.65), **more):
    """A run on pairs whose base model has an error of 0.1; `winner` and `loser` are the last errors of the policy."""
    base = {"error_ref_winner": (0.1, 0.1), "error_ref_loser": (0.1, 0.1)}
    errors = {"error_winner": (0.1, winner), "error_loser": (0.1, loser)}
    return curve(loss=loss, accuracy=accuracy, gradient_norm=(1.0, 1.0), **errors, **base, **more)


def held_out(*losses, accuracy=0.55):
    return [{"step": 50 * n, "held_out": {"loss": loss, "accuracy": accuracy}} for n, loss in enumerate(losses)]


def test_winners_that_get_better_and_losers_that_get_worse_are_healthy():
    found = diagnose(pairs(0.095, 0.11))
    assert found.name == "healthy"
    # The late mean is over the last six of twenty lines: 16.5/19 of the way.
    assert "the error of preferred images changed by -4.34%" in found.evidence and "accuracy is 0.63" in found.evidence


@pytest.mark.parametrize("winner, loser", [(0.13, 0.15), (0.3, 0.5)])
def test_both_errors_rise_where_both_are_more_than_a_tenth_above_the_base_s(winner, loser):
    found = diagnose(pairs(winner, loser))
    assert found.name == "both errors rise" and "--beta" in found.advice


@pytest.mark.parametrize("winner", [0.1, 0.104, 0.0995])
def test_only_the_loser_moves_where_less_than_a_tenth_of_the_margin_is_the_winner_s(winner):
    assert diagnose(pairs(winner, 0.11)).name == "only the loser moves"


def test_a_winner_that_gives_more_than_a_tenth_of_the_margin_is_healthy():
    assert diagnose(pairs(0.0985, 0.11)).name == "healthy"


@pytest.mark.parametrize("more", [{"loss": (0.69, 0.9)}, {"gradient_norm": (1.0, 12.0)}])
def test_a_loss_or_a_gradient_that_grows_is_a_learning_rate_that_is_too_high(more):
    lines = curve(**{"loss": (0.69, 0.6), "gradient_norm": (1.0, 1.0), **more})
    assert diagnose(lines).name == "learning rate too high"
    assert "--lr" in diagnose(lines).advice


def test_training_accuracy_that_rises_while_the_held_out_loss_rises_is_memorised():
    lines = pairs(0.09, 0.12, accuracy=(0.5, 0.95))
    found = diagnose(lines, held_out(0.69, 0.68, 0.75))
    assert found.name == "memorised" and "0.89 in training and 0.55 on held-out" in found.evidence
    assert "rose from 0.68 to 0.75" in found.evidence


@pytest.mark.parametrize(
    "accuracy, losses, on_held_out",
    [
        (0.95, (0.69, 0.68, 0.70), 0.55),  # the held-out loss is within a twentieth of its lowest
        (0.65, (0.69, 0.68, 0.75), 0.55),  # the accuracies are near each other
        (0.95, (0.69, 0.68, 0.75), 0.85),
    ],
)
def test_no_gap_or_no_rise_is_not_memorised(accuracy, losses, on_held_out):
    lines = pairs(0.09, 0.12, accuracy=(0.5, accuracy))
    assert diagnose(lines, held_out(*losses, accuracy=on_held_out)).name == "healthy"


def test_examples_that_were_seen_once_cannot_be_memorised():
    lines = [{**line, "epoch": 1.0} for line in pairs(0.09, 0.12, accuracy=(0.5, 0.95))]
    assert diagnose(lines, held_out(0.69, 0.68, 0.75)).name == "healthy"


def test_without_an_accuracy_it_is_memorised_by_the_losses_alone():
    rows = [{"step": step, "held_out": {"loss": loss}} for step, loss in ((0, 0.2), (50, 0.19), (100, 0.21))]
    assert diagnose(curve(loss=(0.2, 0.1)), rows).name == "memorised"
    assert diagnose(curve(loss=(0.2, 0.1)), rows[:2]).name == "healthy"


@pytest.mark.parametrize(
    "lines",
    [[], pairs(0.3, 0.5)[:4], curve(loss=(0.69, 0.69), accuracy=(0.5, 0.5)), pairs(0.1, 0.1, (0.69, 0.69), (0.5, 0.5))],
)
def test_few_lines_or_none_that_move_are_too_early_to_tell(lines):
    assert diagnose(lines).name == "too early to tell"


def test_a_loss_that_only_varies_is_too_early_to_tell():
    noisy = [{"step": n, "loss": 0.69 + 0.05 * (-1) ** n} for n in range(20)]
    assert diagnose(noisy).name == "too early to tell"


def test_a_method_of_single_images_is_judged_by_its_loss_and_its_one_error():
    base = {"error_ref_image": (0.1, 0.1)}
    assert diagnose(curve(loss=(0.5, 0.45), error_image=(0.1, 0.102), **base)).name == "healthy"
    assert diagnose(curve(loss=(0.5, 0.45), error_image=(0.1, 0.2), **base)).name == "both errors rise"


def test_a_method_without_a_reference_is_judged_by_its_held_out_errors():
    lines = curve(loss=(2.0, 1.5), accuracy=(0.5, 0.65), error_winner=(0.1, 0.3), error_loser=(0.1, 0.4))
    assert diagnose(lines).name == "healthy"  # of the training errors nothing is known but that times differ
    errors = {"error_winner": 0.3, "error_ref_winner": 0.1, "error_loser": 0.4, "error_ref_loser": 0.1}
    assert diagnose(lines, [{"step": 0, "held_out": {"loss": 1.0, **errors}}]).name == "both errors rise"


def test_rankings_are_judged_by_their_first_and_last_places():
    errors = {f"error_place_{n}": (0.1, end) for n, end in ((1, 0.095), (2, 0.2), (10, 0.11))}
    lines = curve(loss=(0.7, 0.6), **errors, **{f"error_ref_place_{n}": (0.1, 0.1) for n in (1, 2, 10)})
    assert diagnose(lines).name == "healthy"
    assert roles_of(lines[0]) == ["place_1", "place_2", "place_10"]


def test_every_rule_has_advice_and_a_diagnosis_is_one_line():
    assert set(ADVICE) == {*RULES, "too early to tell"}
    assert "\n" not in diagnose(pairs(0.3, 0.5)).sentence()


def test_the_noise_of_a_trend_is_small_and_that_of_scatter_is_not():
    assert noise_of([0.0, 1.0]) == pytest.approx(0.5**0.5)  # half the squared difference, of one late value
    # Ten late differences of 0.02: the variance is 0.0002, of a mean of six.
    assert noise_of([0.69 + 0.01 * (-1) ** n for n in range(20)]) == pytest.approx((0.0002 / 6) ** 0.5)
    assert noise_of([1.0]) == 0.0


def test_metrics_that_a_line_lacks_or_that_were_not_finite_are_left_out():
    lines = pairs(0.095, 0.11)
    lines[3]["error_winner"] = None
    del lines[4]["accuracy"]
    assert diagnose([*lines, {"step": 999, "loss": None}]).name == "healthy"
    assert evidence_of(lines, []).first_accuracy == 0.5
