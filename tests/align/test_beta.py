"""The converted beta of other codes, tested against their margins."""

import pytest
import torch

from palate.align.beta import ConvertBetaConfig, convert_beta
from palate.cli.main import main
from palate.objectives.dpo import dpo

torch.manual_seed(0)
SHAPE = (3, 4, 6, 5)
TARGET, WINNER, LOSER, WINNER_REF, LOSER_REF = torch.randn(5, *SHAPE, dtype=torch.float64)


def squares(prediction):
    return (prediction - TARGET).square().flatten(1)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("half", [True, False])
@pytest.mark.parametrize("timesteps", [1, 1000])
def test_the_converted_beta_gives_the_other_codes_loss(reduction, half, timesteps):
    reduce = {"mean": lambda e: e.mean(1), "sum": lambda e: e.sum(1)}[reduction]
    theirs = {name: reduce(squares(each)) for name, each in _predictions().items()}
    difference = (theirs["w"] - theirs["w_ref"]) - (theirs["l"] - theirs["l_ref"])
    margin = -(0.5 if half else 1.0) * timesteps * 0.03 * difference
    config = ConvertBetaConfig(
        beta=0.03, reduction=reduction, half=half, channels=4, height=6, width=5, timesteps=timesteps
    )
    ours = {name: squares(each).mean(1) for name, each in _predictions().items()}
    _, metrics = dpo(ours["w"], ours["l"], ours["w_ref"], ours["l_ref"], beta=convert_beta(config))
    torch.testing.assert_close(metrics["margin"], margin)


def test_the_command_prints_the_number(capsys):
    assert main(["align", "convert-beta", "--beta", "0.1", "--reduction", "sum", "--no-half"]) == 0
    assert capsys.readouterr().out == "3276.8\n"


def test_impossible_numbers_are_refused(capsys):
    assert main(["align", "convert-beta", "--beta", "-1"]) == 2
    assert "beta must be above zero, not -1.0" in capsys.readouterr().err


def _predictions():
    return {"w": WINNER, "l": LOSER, "w_ref": WINNER_REF, "l_ref": LOSER_REF}
