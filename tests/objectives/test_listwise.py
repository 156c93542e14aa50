import math
from itertools import permutations

import pytest
import torch

from palate.objectives.cpo import cpo
from palate.objectives.dpo import dpo
from palate.objectives.listwise import listwise

torch.manual_seed(0)
ERROR, REFERENCE = torch.rand(2, 5, 4, dtype=torch.float64)
PAIR_RANKS = torch.tensor([[1, 2]]).expand(5, 2)


def scores(values: list[float], beta: float = 2.0) -> torch.Tensor:
    """Errors [1, n] whose rewards without a reference are `values`."""
    return -2 * torch.tensor([values], dtype=torch.float64) / beta


def test_loss_worked_by_hand():
    loss, _ = listwise(scores([2.0, 1.0, 0.0]), None, torch.tensor([[1, 2, 3]]), beta=2.0)
    first = math.log(math.exp(2) + math.exp(1) + math.exp(0)) - 2
    assert loss.item() == pytest.approx(first + math.log(math.exp(1) + math.exp(0)) - 1)


def test_the_likelihoods_of_all_rankings_add_up_to_one():
    errors = scores([0.3, -1.0, 2.0, 0.7])
    rankings = torch.tensor(list(permutations([1, 2, 3, 4])))
    loss, _ = listwise(errors.expand(24, 4), None, rankings, beta=2.0)
    assert (-loss).exp().sum().item() == pytest.approx(1)


@pytest.mark.parametrize("beta", [1.0, 500.0])
def test_two_images_are_dpo_exactly_value_and_gradient(beta):
    ours = ERROR[:, :2].clone().requires_grad_()
    theirs = ERROR[:, :2].clone().requires_grad_()
    loss, metrics = listwise(ours, REFERENCE[:, :2], PAIR_RANKS, beta, anchor=0.3)
    expected, found = dpo(*theirs.unbind(1), *REFERENCE[:, :2].unbind(1), beta=beta, anchor=0.3)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(metrics["accuracy"].value, found["accuracy"])
    torch.testing.assert_close(metrics["margin"], found["margin"])
    gradients = torch.autograd.grad(loss.sum(), ours)[0], torch.autograd.grad(expected.sum(), theirs)[0]
    torch.testing.assert_close(*gradients)


def test_two_images_without_a_reference_are_cpo():
    loss, _ = listwise(ERROR[:, :2], None, PAIR_RANKS, 30.0, anchor=0.7)
    torch.testing.assert_close(loss, cpo(*ERROR[:, :2].unbind(1), beta=30.0, anchor=0.7)[0])


def test_the_order_of_the_images_does_not_matter():
    ranks, order = torch.tensor([[2, 1, 3, 1]]).expand(5, 4), [3, 0, 2, 1]
    loss, metrics = listwise(ERROR, REFERENCE, ranks, 3.0, 0.5)
    shuffled, found = listwise(ERROR[:, order], REFERENCE[:, order], ranks[:, order], 3.0, 0.5)
    torch.testing.assert_close(loss, shuffled)
    torch.testing.assert_close(metrics, found)


def test_images_that_share_a_rank_come_before_the_rest_in_either_order():
    tied, _ = listwise(scores([1.0, 0.2, 0.0]), None, torch.tensor([[1, 1, 2]]), beta=2.0)
    a, b, c = (math.exp(value) for value in (1.0, 0.2, 0.0))
    assert math.exp(-tied.item()) == pytest.approx(a / (a + b + c) * b / (b + c) + b / (a + b + c) * a / (a + c))
    alone, metrics = listwise(scores([1.0, 0.2]), None, torch.tensor([[1, 1]]), beta=2.0)
    assert alone.item() == pytest.approx(0, abs=1e-12) and not metrics["accuracy"].measured.any()


def test_a_place_without_an_image_changes_neither_loss_nor_metrics():
    three = listwise(ERROR[:, :3], REFERENCE[:, :3], torch.tensor([[1, 2, 3]]).expand(5, 3), 3.0, 0.5)
    padded = listwise(ERROR, REFERENCE, torch.tensor([[1, 2, 3, 0]]).expand(5, 4), 3.0, 0.5)
    torch.testing.assert_close(three, padded)


def test_a_place_without_an_image_gets_no_gradient():
    errors = ERROR.clone().requires_grad_()
    loss, _ = listwise(errors, REFERENCE, torch.tensor([[1, 2, 3, 0]]).expand(5, 4), 3.0, 0.5)
    (gradient,) = torch.autograd.grad(loss.sum(), errors)
    assert (gradient[:, 3] == 0).all() and (gradient[:, :3] != 0).all()


def test_accuracy_and_margin_worked_by_hand():
    _, metrics = listwise(scores([1.0, 3.0, 0.0]), None, torch.tensor([[1, 2, 3]]), beta=2.0)
    assert metrics["accuracy"].value.item() == pytest.approx(2 / 3)  # 1 < 3 is wrong; 1 > 0 and 3 > 0 are right
    assert metrics["margin"].item() == pytest.approx(1.0 - 1.5)


def test_gradient_agrees_with_finite_differences():
    errors, ranks = ERROR[:3].clone().requires_grad_(), torch.tensor([[1, 2, 3, 4], [1, 1, 2, 2], [2, 1, 3, 0]])
    assert torch.autograd.gradcheck(lambda e: listwise(e, REFERENCE[:3], ranks, 3.0, 0.5)[0], [errors])


def test_extreme_errors_do_not_overflow():
    loss, _ = listwise(torch.tensor([[5.0, 0.0, 9.0]]), torch.zeros(1, 3), torch.tensor([[1, 2, 3]]), beta=5000.0)
    assert loss.item() == pytest.approx(12500.0)
