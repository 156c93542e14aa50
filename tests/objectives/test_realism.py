"""The discriminator's loss, worked by hand."""

import math

import pytest
import torch

from palate.objectives.realism import realism


def test_realism_worked_by_hand() -> None:
    loss, metrics = realism(torch.tensor([2.0, 2.0, 0.0]), torch.tensor([1.0, 0.0, 1.0]))
    expected = [math.log(1 + math.exp(-2)), math.log(1 + math.exp(2)), math.log(2)]
    assert loss.tolist() == pytest.approx(expected)
    assert metrics["accuracy"].tolist() == [1.0, 0.0, 0.0]
