"""The reward loss of Lee et al. 2023, worked by hand."""

import math

import pytest
import torch

from palate.objectives.regression import regression


def test_squared_error_and_the_choice_worked_by_hand() -> None:
    reward = torch.tensor([[0.8, 0.3, 0.1]], dtype=torch.float64)
    loss, metrics = regression(reward, torch.tensor([1.0], dtype=torch.float64), temperature=0.5, auxiliary=2.0)
    odds = [math.exp(r / 0.5) for r in (0.8, 0.3, 0.1)]
    assert loss.item() == pytest.approx(0.2**2 + 2.0 * -math.log(odds[0] / sum(odds)))
    assert metrics["squared_error"].item() == pytest.approx(0.04)
    assert metrics["prompt_accuracy"].value.item() == 1.0


def test_the_choice_of_the_prompt_does_not_count_for_a_bad_image() -> None:
    reward = torch.tensor([[0.6, 0.9]])
    loss, metrics = regression(reward, torch.tensor([0.0]), temperature=0.1, auxiliary=5.0)
    assert loss.item() == pytest.approx(0.36)
    assert not metrics["prompt_accuracy"].measured.any()


def test_without_the_auxiliary_it_is_plain_regression() -> None:
    loss, metrics = regression(torch.tensor([[0.25]]), torch.tensor([0.75]), temperature=1.0, auxiliary=0.0)
    assert loss.item() == pytest.approx(0.25) and set(metrics) == {"squared_error"}


def test_the_choice_lowers_the_reward_of_wrong_prompts() -> None:
    reward = torch.tensor([[0.5, 0.5]], requires_grad=True)
    regression(reward, torch.tensor([1.0]), temperature=0.5, auxiliary=1.0)[0].sum().backward()
    assert reward.grad is not None and reward.grad[0, 0] < 0 < reward.grad[0, 1]


def test_regression_has_the_right_gradient() -> None:
    reward = torch.rand(4, 3, dtype=torch.float64, requires_grad=True)
    grade = torch.tensor([0.0, 0.4, 1.0, 1.0], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda r: regression(r, grade, 0.7, 0.5)[0], reward)
