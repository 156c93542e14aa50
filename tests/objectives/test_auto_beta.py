import pytest
import torch

from palate.objectives.auto_beta import LARGEST, START, auto_beta
from palate.objectives.dpo import dpo


@pytest.mark.parametrize("target", [0.05, 0.2, 0.45])
def test_a_pair_with_the_average_margin_has_the_target_as_its_gradient_factor(target):
    error_w, error_l = torch.tensor([0.10], requires_grad=True), torch.tensor([0.13])
    base = torch.tensor([0.11]), torch.tensor([0.12])
    _, metrics = dpo(error_w, error_l, *base, beta=1.0)
    beta = auto_beta(metrics["margin"].abs().mean(), target)
    loss, _ = dpo(error_w, error_l, *base, beta=beta)
    (gradient,) = torch.autograd.grad(loss.sum(), error_w)
    assert gradient.item() / (beta.item() / 2) == pytest.approx(target, rel=1e-4)


def test_beta_worked_by_hand():
    assert auto_beta(torch.tensor(0.01), 0.2).item() == pytest.approx(138.629436)  # log 4 / 0.01


def test_the_first_step_and_margins_of_nothing_have_a_finite_beta():
    assert auto_beta(None, 0.2).item() == START
    assert auto_beta(torch.tensor(0.0), 0.2).item() == LARGEST


def test_it_has_no_gradient():
    assert not auto_beta(torch.tensor(0.1, requires_grad=True), 0.2).requires_grad
