import math

import pytest
import torch

from palate.objectives.dmpo import dmpo
from palate.objectives.link import link_loss

ERRORS = [torch.tensor([value], dtype=torch.float64) for value in (0.10, 0.20, 0.12, 0.19)]


def at_margin(margin: float, alpha: float) -> float:
    """The loss of a pair with a margin."""
    zero = torch.zeros(1, dtype=torch.float64)
    return dmpo(zero - 2 * margin, zero, zero, zero, beta=1.0, alpha=alpha)[0].item()


def test_loss_worked_by_hand():
    loss, metrics = dmpo(*ERRORS, beta=100.0, alpha=0.1)
    p = 1 / (1 + math.exp(-1.5))  # the margin of DPO's test
    assert loss.item() == pytest.approx(p * math.log(p / 0.9) + (1 - p) * math.log((1 - p) / 0.1))
    assert metrics["margin"].item() == pytest.approx(1.5) and metrics["accuracy"].item() == 1


def test_it_is_least_where_the_preference_is_the_labels_probability():
    alpha = 0.01
    best = math.log((1 - alpha) / alpha)
    assert at_margin(best, alpha) == pytest.approx(0, abs=1e-12)
    assert at_margin(best - 0.1, alpha) > 0 and at_margin(best + 0.1, alpha) > 0


def test_a_pair_ordered_the_other_way_costs_at_most_minus_log_alpha_and_pulls_no_more():
    assert at_margin(-50.0, 0.01) == pytest.approx(-math.log(0.01))
    error = torch.tensor([1.0], dtype=torch.float64, requires_grad=True)
    zero = torch.zeros(1, dtype=torch.float64)
    (gradient,) = torch.autograd.grad(dmpo(error, zero, zero, zero, beta=100.0)[0].sum(), error)
    assert abs(gradient.item()) < 1e-15  # DPO's is 50


def test_it_is_the_other_divergence_of_smoothed_dpo():
    margin, alpha = torch.tensor([0.7], dtype=torch.float64), 0.2
    p = margin.sigmoid().item()
    cross = link_loss(margin, smoothing=alpha).item()
    entropy = -(0.8 * math.log(0.8) + 0.2 * math.log(0.2))
    forward = 0.8 * math.log(0.8 / p) + 0.2 * math.log(0.2 / (1 - p))
    assert cross - entropy == pytest.approx(forward)
    assert at_margin(0.7, alpha) == pytest.approx(p * math.log(p / 0.8) + (1 - p) * math.log((1 - p) / 0.2))


def test_gradient_agrees_with_finite_differences():
    errors = [torch.rand(4, dtype=torch.float64, requires_grad=True) for _ in range(4)]
    assert torch.autograd.gradcheck(lambda *e: dmpo(*e, beta=3.0)[0], errors)


def test_large_margins_of_float32_stay_finite():
    error, zero = torch.tensor([-1.0, 1.0]), torch.zeros(2)
    loss, _ = dmpo(error, zero, zero, zero, beta=5000.0)
    assert loss.tolist() == pytest.approx([-math.log1p(-0.01), -math.log(0.01)], rel=1e-5)
