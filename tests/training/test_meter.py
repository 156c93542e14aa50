"""Means of metrics; examples without a metric are distinguished from values that are not finite."""

from __future__ import annotations

import math

import pytest
import torch
from accelerate import Accelerator

from palate.objectives.metrics import PartialMetric
from palate.training.meter import Meter

CPU = Accelerator(cpu=True)
NAN = math.nan


def test_means_are_over_all_added_values() -> None:
    meter = Meter()
    meter.add(loss=torch.tensor([1.0, 2.0]), accuracy=torch.tensor([True, False]))
    meter.add(loss=torch.tensor([6.0]))
    assert meter.fetch(CPU) == {"loss": 3.0, "accuracy": 0.5}
    assert meter.fetch(CPU) == {}


def test_examples_without_a_metric_are_not_counted_whatever_their_value() -> None:
    meter = Meter()
    meter.add(accuracy=PartialMetric(torch.tensor([1.0, NAN, 0.0]), torch.tensor([True, False, True])))
    meter.add(rare=PartialMetric(torch.tensor([NAN]), torch.tensor([False])))
    meter.mark(1)
    assert meter.not_finite(CPU) is None
    assert meter.fetch(CPU) == {"accuracy": 0.5}


@pytest.mark.parametrize("bad", [NAN, math.inf, -math.inf])
def test_a_measured_number_that_is_not_finite_is_named_with_its_step(bad: float) -> None:
    meter = Meter()
    for step in range(1, 6):
        wrong = bad if step >= 3 else 0.0
        meter.add(loss=torch.tensor([1.0]), margin=torch.tensor([wrong, 0.0]))
        meter.add(accuracy=PartialMetric(torch.tensor([wrong]), torch.tensor([step == 4])))
        meter.mark(step)
    broken = meter.not_finite(CPU)
    assert broken is not None and broken.step == 3 and broken.names == ["margin", "accuracy"]


def test_infinities_that_cancel_are_found() -> None:
    meter = Meter()
    meter.add(margin=torch.tensor([math.inf, -math.inf]))
    meter.mark(1)
    assert meter.not_finite(CPU) is not None


def test_fetch_resets_the_means() -> None:
    meter = Meter()
    meter.add(loss=torch.tensor([NAN]))
    meter.mark(1)
    meter.fetch(CPU)
    meter.add(loss=torch.tensor([1.0]))
    meter.mark(2)
    assert meter.not_finite(CPU) is None


def test_a_restored_meter_continues() -> None:
    meter, other = Meter(), Meter()
    meter.add(loss=torch.tensor([1.0, 2.0]))
    other.restore(meter.state(CPU), torch.device("cpu"))
    other.add(loss=torch.tensor([6.0]))
    assert other.fetch(CPU) == {"loss": 3.0}
