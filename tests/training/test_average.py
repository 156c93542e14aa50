"""The moving average of weights, against its recurrence worked by hand."""

import pytest
import torch
from torch import nn

from palate.training.average import WeightAverage


def test_the_average_follows_its_recurrence_and_its_warm_up():
    network = nn.Linear(1, 1, bias=False)
    network.weight.data.fill_(1.0)
    average = WeightAverage(network, decay=0.5)
    expected = 1.0
    for step, value in enumerate((2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0)):
        network.weight.data.fill_(value)
        average.update(step)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * value
        assert average.tensors()["weight"].item() == pytest.approx(expected)
    assert decay == 0.5  # reached at step 8
    average.apply()
    assert network.weight.item() == pytest.approx(expected)


def test_weights_that_stand_still_are_their_own_average():
    network = nn.Linear(2, 3)
    average = WeightAverage(network, 0.99)
    for step in range(5):
        average.update(step)
    for name, value in average.tensors().items():
        torch.testing.assert_close(value, dict(network.named_parameters())[name].data)


def test_frozen_weights_have_no_average_and_a_restored_average_is_the_saved_one():
    network = nn.Linear(2, 2)
    network.bias.requires_grad_(False)
    average = WeightAverage(network, 0.9)
    assert set(average.tensors()) == {"weight"}
    kept = {name: value.clone() + 1 for name, value in average.tensors().items()}
    average.restore(kept)
    assert torch.equal(average.tensors()["weight"], kept["weight"])


def test_an_average_that_was_applied_for_a_block_leaves_the_weights_as_they_were():
    network = nn.Linear(3, 3)
    average = WeightAverage(network, 0.5)
    with torch.no_grad():
        network.weight.mul_(3)
    before, averaged = network.weight.clone(), average.tensors()["weight"].clone()
    with pytest.raises(KeyError), average.applied():
        assert torch.equal(network.weight, averaged)
        raise KeyError
    assert torch.equal(network.weight, before) and torch.equal(average.tensors()["weight"], averaged)
