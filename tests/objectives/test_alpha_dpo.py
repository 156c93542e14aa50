import math

import pytest
import torch

from palate.objectives.alpha_dpo import alpha_dpo

ERRORS = [torch.tensor([value], dtype=torch.float64) for value in (0.10, 0.20, 0.12, 0.19)]


def at_margin(margin: float, alpha: float, dtype: torch.dtype = torch.float64) -> float:
    """The loss of a pair with a margin."""
    zero = torch.zeros(1, dtype=dtype)
    return alpha_dpo(zero - 2 * margin, zero, zero, zero, beta=1.0, alpha=alpha)[0].item()


@pytest.mark.parametrize("alpha", [0.2, 0.5, 0.9])
def test_loss_worked_by_hand(alpha):
    loss, metrics = alpha_dpo(*ERRORS, beta=100.0, alpha=alpha)
    p = 1 / (1 + math.exp(-1.5))  # the margin of DPO's test
    assert loss.item() == pytest.approx((p**alpha - (1 - alpha) - alpha * p) / (alpha * (alpha - 1)))
    assert metrics["margin"].item() == pytest.approx(1.5) and metrics["accuracy"].item() == 1


@pytest.mark.parametrize("margin", [-4.0, 0.0, 2.0])
def test_the_limits_of_alpha(margin):
    p = 1 / (1 + math.exp(-margin))
    assert at_margin(margin, 1 - 1e-9) == pytest.approx(1 - p + p * math.log(p), rel=1e-6)
    assert at_margin(margin, 1e-7) == pytest.approx(p - 1 - math.log(p), rel=1e-5)


def test_the_published_alpha_is_exact_in_float32():
    for margin in (-3.0, 0.1, 4.0):
        assert at_margin(margin, 0.9999, torch.float32) == pytest.approx(at_margin(margin, 0.9999), rel=2e-5)


def test_a_pair_ordered_the_other_way_costs_one_over_alpha_at_most_and_pulls_no_more():
    assert at_margin(-60.0, 0.5) == pytest.approx(2.0)
    error = torch.tensor([1.0], dtype=torch.float64, requires_grad=True)
    zero = torch.zeros(1, dtype=torch.float64)
    (gradient,) = torch.autograd.grad(alpha_dpo(error, zero, zero, zero, beta=100.0)[0].sum(), error)
    assert abs(gradient.item()) < 1e-15
    assert at_margin(60.0, 0.5) == pytest.approx(0, abs=1e-12)


def test_gradient_agrees_with_finite_differences():
    errors = [torch.rand(4, dtype=torch.float64, requires_grad=True) for _ in range(4)]
    assert torch.autograd.gradcheck(lambda *e: alpha_dpo(*e, beta=3.0, alpha=0.7)[0], errors)
