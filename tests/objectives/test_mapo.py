import math

import pytest
import torch

from palate.objectives.mapo import likelihood_score, mapo

WINNER, LOSER = torch.tensor([0.10], dtype=torch.float64), torch.tensor([0.101], dtype=torch.float64)


def test_score_worked_by_hand_and_its_limits():
    assert likelihood_score(torch.tensor([2.0], dtype=torch.float64)).item() == pytest.approx(1 / (math.e - 1))
    assert likelihood_score(torch.tensor([0.0])).item() == 1.0
    assert likelihood_score(torch.tensor([1e-9], dtype=torch.float64)).item() == pytest.approx(1.0, abs=1e-9)
    assert likelihood_score(torch.tensor([1e4])).item() == 0.0


def test_loss_worked_by_hand():
    loss, metrics = mapo(WINNER, LOSER)
    ratio = [0.5 * e / (math.exp(0.5 * e) - 1) for e in (0.10, 0.101)]
    margin = 1000 * (ratio[0] - ratio[1])
    assert metrics["margin"].item() == pytest.approx(margin) and metrics["accuracy"].item() == 1.0
    assert loss.item() == pytest.approx(0.10 + 0.1 * math.log(1 + math.exp(-margin)))


def test_the_sharpness_multiplies_the_margin():
    margins = [mapo(WINNER, LOSER, sharpness=k)[1]["margin"] for k in (1000.0, 100.0)]
    torch.testing.assert_close(margins[0], 10 * margins[1])


def test_beta_zero_is_fine_tuning_on_the_winner():
    torch.testing.assert_close(mapo(WINNER, LOSER, beta=0.0)[0], WINNER)


def test_gradient_agrees_with_finite_differences():
    errors = [0.1 + 0.002 * torch.rand(4, dtype=torch.float64) for _ in range(2)]
    assert torch.autograd.gradcheck(lambda *e: mapo(*e)[0], [error.requires_grad_() for error in errors])


def test_an_error_of_zero_has_a_finite_gradient():
    error = torch.zeros(1, requires_grad=True)
    (slope,) = torch.autograd.grad(mapo(error, LOSER.float())[0].sum(), error)
    assert slope.isfinite().all()
