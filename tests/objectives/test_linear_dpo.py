import pytest
import torch

from palate.objectives.dpo import dpo
from palate.objectives.linear_dpo import linear_dpo

ERRORS = [torch.tensor([value], dtype=torch.float64) for value in (0.10, 0.20, 0.12, 0.19)]


def test_loss_worked_by_hand():
    loss, metrics = linear_dpo(*ERRORS, beta=50.0)
    # D = -0.03; 1/2 + 0.2 x 50 x -0.03 = 0.2; times (0.10 - 0.20)
    assert metrics["weight"].item() == pytest.approx(0.2) and loss.item() == pytest.approx(-0.02)
    assert metrics["margin"].item() == pytest.approx(0.75) and metrics["accuracy"].item() == 1


def test_the_weight_stays_within_its_floor():
    low = linear_dpo(*ERRORS, beta=1e6, floor=0.01)[1]["weight"]
    high = linear_dpo(*(ERRORS[i] for i in (1, 0, 3, 2)), beta=1e6)[1]["weight"]
    assert (low.item(), high.item()) == pytest.approx((0.01, 0.999))


def test_at_the_reference_its_gradient_is_dpos_without_beta():
    winner, loser = (torch.rand(3, dtype=torch.float64, requires_grad=True) for _ in range(2))
    base = winner.detach(), loser.detach()
    ours = torch.autograd.grad(linear_dpo(winner, loser, *base, beta=70.0)[0].sum(), (winner, loser))
    theirs = torch.autograd.grad(dpo(winner, loser, *base, beta=70.0)[0].sum(), (winner, loser))
    torch.testing.assert_close([35 * 2 * each for each in ours], [2 * each for each in theirs])


def test_the_weight_has_no_gradient():
    errors = [error.clone().requires_grad_() for error in ERRORS]
    loss, _ = linear_dpo(*errors, beta=50.0)
    winner, loser = torch.autograd.grad(loss.sum(), errors[:2])
    assert (winner.item(), loser.item()) == pytest.approx((0.2, -0.2))
