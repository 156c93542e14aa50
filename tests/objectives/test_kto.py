import math

import pytest
import torch

from palate.objectives.kto import gain, kto

ERROR, REFERENCE = torch.tensor([[0.10, 0.10], [0.12, 0.12]], dtype=torch.float64)
LIKED, KL = torch.tensor([True, False]), torch.tensor(0.005, dtype=torch.float64)


def test_losses_worked_by_hand():
    loss, metrics = kto(ERROR, REFERENCE, LIKED, KL, beta=100.0)
    up = 1 / (1 + math.exp(-100 * (0.02 - 0.005)))
    assert loss.tolist() == pytest.approx([1 - up, up])
    assert metrics["accuracy"].tolist() == [1.0, 0.0]
    assert gain(ERROR, REFERENCE).tolist() == pytest.approx([0.02, 0.02])


def test_at_the_reference_every_thumb_costs_a_half():
    loss, metrics = kto(REFERENCE, REFERENCE, LIKED, torch.tensor(0.0), beta=1000.0)
    assert loss.tolist() == [0.5, 0.5] and metrics["accuracy"].tolist() == [0.5, 0.5]


def test_a_liked_image_is_denoised_better_and_a_disliked_one_worse():
    error = ERROR.clone().requires_grad_()
    (slope,) = torch.autograd.grad(kto(error, REFERENCE, LIKED, KL, beta=100.0)[0].sum(), error)
    assert slope[0] > 0 > slope[1]


def test_gradient_agrees_with_finite_differences():
    error = ERROR.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda e: kto(e, REFERENCE, LIKED, KL, 100.0)[0], [error])


def test_extreme_gains_saturate_without_overflow():
    loss, _ = kto(torch.tensor([50.0, 50.0]), torch.zeros(2), LIKED, torch.tensor(0.0), beta=1000.0)
    assert loss.tolist() == [1.0, 0.0]
