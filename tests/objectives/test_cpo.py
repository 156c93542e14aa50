import math

import pytest
import torch

from palate.align.methods.cpo import CPOConfig
from palate.align.methods.method import Measured
from palate.objectives.cpo import cpo, likelihood_anchor
from palate.objectives.dpo import dpo

WINNER, LOSER = torch.tensor([0.10], dtype=torch.float64), torch.tensor([0.13], dtype=torch.float64)


def test_loss_and_margin_worked_by_hand():
    loss, metrics = cpo(WINNER, LOSER, beta=100.0, anchor=2.0)
    # -(100 / 2) (0.10 - 0.13) = 1.5; log(1 + e^-1.5) + 2 x 0.10
    assert metrics["margin"].item() == pytest.approx(1.5) and metrics["accuracy"].item() == 1.0
    assert loss.item() == pytest.approx(math.log(1 + math.exp(-1.5)) + 0.2)


def test_cpo_is_dpo_with_equal_reference_errors():
    same = torch.tensor([0.2], dtype=torch.float64)
    torch.testing.assert_close(cpo(WINNER, LOSER, 50.0, 0.0)[0], dpo(WINNER, LOSER, same, same, 50.0)[0])


def test_without_an_anchor_raising_both_errors_changes_nothing():
    torch.testing.assert_close(cpo(WINNER + 1, LOSER + 1, 50.0, 0.0)[0], cpo(WINNER, LOSER, 50.0, 0.0)[0])
    assert cpo(WINNER + 1, LOSER + 1, 50.0, 1.0)[0] > cpo(WINNER, LOSER, 50.0, 1.0)[0]


def test_gradient_agrees_with_finite_differences():
    errors = [torch.rand(4, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    assert torch.autograd.gradcheck(lambda *e: cpo(*e, beta=3.0, anchor=0.5, link="ipo", smoothing=0.1)[0], errors)


@pytest.mark.parametrize("beta", [50.0, 2000.0, 5000.0])
def test_the_likelihood_anchor_gives_the_papers_loss_in_log_likelihoods(beta):
    log_w, log_l = (-beta / 2 * error / 0.1 for error in (WINNER, LOSER))  # so that 0.1 log p is -(beta / 2) error
    paper = -torch.nn.functional.logsigmoid(0.1 * (log_w - log_l)) - log_w
    torch.testing.assert_close(cpo(WINNER, LOSER, beta, likelihood_anchor(beta))[0], paper)


@pytest.mark.parametrize(
    "settings, anchor",
    [({}, 10_000), ({"beta": 50.0}, 250), ({"beta": 50.0, "anchor": 10.0}, 10), ({"beta": 50.0, "anchor": 0.0}, 0)],
)
def test_the_default_anchor_depends_on_beta_and_a_given_one_does_not(tmp_path, settings, anchor):
    config = CPOConfig(model="tiny-sd", preferences="tiny-preferences", out=tmp_path, **settings)
    errors = torch.stack([WINNER, LOSER], 1)
    loss, _ = config.method().loss(Measured(errors, None, torch.zeros(1, 0)))
    torch.testing.assert_close(loss, cpo(WINNER, LOSER, config.beta, anchor)[0])
