import pytest
import torch

from palate.training.running_mean import RunningMean

CPU = torch.device("cpu")


def test_it_is_a_mean_from_the_first_step():
    mean = RunningMean(0.9, CPU)
    assert mean.mean() is None
    mean.update(torch.tensor(3.0))
    assert mean.mean().item() == pytest.approx(3.0)
    mean.update(torch.tensor(1.0))
    assert mean.mean().item() == pytest.approx((0.1 * 1 + 0.09 * 3) / 0.19)


def test_what_a_checkpoint_keeps_goes_on_bit_for_bit():
    mean, again = RunningMean(0.99, CPU), RunningMean(0.99, CPU)
    for value in torch.rand(5):
        mean.update(value)
    again.restore(mean.state())
    for value in torch.rand(3):
        mean.update(value)
        again.update(value)
    assert torch.equal(mean.mean(), again.mean())
