import math

import pytest
import torch

from palate.objectives.adversarial import discriminator_loss, generator_loss

REAL, FAKE = torch.tensor([1.0, 0.0], dtype=torch.float64), torch.tensor([-1.0, 0.0], dtype=torch.float64)


def test_losses_worked_by_hand():
    loss, metrics = discriminator_loss(REAL, FAKE)
    assert loss.tolist() == pytest.approx([2 * math.log(1 + math.exp(-1)), 2 * math.log(2)])
    assert metrics["discriminator_accuracy"].tolist() == [1.0, 0.5]
    assert generator_loss(FAKE).tolist() == pytest.approx([math.log(1 + math.e), math.log(2)])


def test_the_best_discriminator_of_equal_distributions_gives_one_half():
    """Goodfellow et al. 2014, proposition 1: where real and fake are alike, D = 1/2 and the loss is 2 log 2."""
    logit = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    loss, _ = discriminator_loss(logit, logit)
    assert loss.item() == pytest.approx(2 * math.log(2))
    assert torch.autograd.grad(loss.sum(), logit)[0].item() == pytest.approx(0)


def test_gradients_agree_with_finite_differences():
    real, fake = REAL.clone().requires_grad_(), FAKE.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda r, f: discriminator_loss(r, f)[0], [real, fake])
    assert torch.autograd.gradcheck(generator_loss, [fake])
