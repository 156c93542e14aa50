"""The scale of the loss: halved by an overflow, which changes no weight, and doubled after enough steps without one."""

from __future__ import annotations

import pytest
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from palate.core.finite import NotFiniteError
from palate.core.runs import RunFolder
from palate.objectives.metrics import PartialMetric
from palate.training.config import TrainingConfig
from palate.training.learner import Learner
from palate.training.loss_scale import LossScale
from palate.training.optimizer import make_optimizer
from palate.training.step_loop import StepLoop

CPU = Accelerator(cpu=True)


class Slope:
    """Learns y = w x, whose gradient is that of the loss times x."""

    def __init__(self, optimizer: str = "adamw", scaled: bool = True, clip: float = 1e9) -> None:
        self.network = nn.Linear(1, 1, bias=False)
        nn.init.ones_(self.network.weight)
        made = make_optimizer(self.network, optimizer, 0.0)  # type: ignore[arg-type]
        self.learner = Learner(self.network, made, clip, CPU, scale=LossScale("cpu") if scaled else None)

    def update(self, x: float, rate: float = 0.5):
        return self.learner.update([x], lambda x: self.network(torch.tensor([[x]])).sum(), rate)

    @property
    def weight(self) -> float:
        return self.network.weight.item()

    @property
    def scale(self) -> float:
        assert self.learner.part.scale
        return self.learner.part.scale.state()["scale"]


def value(metric) -> float:
    return (metric.value if isinstance(metric, PartialMetric) else metric).item()


def test_the_norm_is_that_of_the_unscaled_gradient_and_the_step_is_that_without_a_scale():
    scaled, plain = Slope(), Slope(scaled=False)
    metrics = scaled.update(3.0)
    assert value(metrics["gradient_norm"]) == 3.0 and metrics["gradient_norm"].measured.item()
    assert (value(metrics["skipped"]), value(metrics["loss_scale"])) == (0.0, 65536.0)
    assert plain.update(3.0).keys() == {"gradient_norm"}
    assert scaled.weight == plain.weight == pytest.approx(0.5)


def test_clipping_is_of_the_unscaled_gradient():
    scaled, plain = Slope("adafactor", clip=2.0), Slope("adafactor", scaled=False, clip=2.0)
    for slope in (scaled, plain):
        slope.update(3.0)
    assert scaled.weight == plain.weight and scaled.network.weight.grad is None


@pytest.mark.parametrize("optimizer", ["adamw", "adafactor", "adamw8bit"])
def test_an_overflow_changes_no_weight_and_halves_the_scale(optimizer):
    if optimizer == "adamw8bit":
        pytest.importorskip("bitsandbytes")
    slope = Slope(optimizer)
    slope.update(1.0)
    before, state = slope.weight, str(slope.learner.part.optimizer.state_dict())
    metrics = slope.update(float("inf"))
    assert slope.weight == before and slope.scale == 32768.0
    assert str(slope.learner.part.optimizer.state_dict()) == state
    assert value(metrics["skipped"]) == 1.0 and not metrics["gradient_norm"].measured.item()
    slope.update(1.0)
    assert slope.weight < before and slope.scale == 32768.0


def test_the_scale_is_doubled_after_two_thousand_steps_without_an_overflow_also_over_a_resume():
    slope = Slope()
    for _ in range(1200):
        slope.update(1.0)
    resumed = Slope()
    assert slope.learner.part.scale and resumed.learner.part.scale
    resumed.learner.part.scale.restore(slope.learner.part.scale.state())
    for _ in range(799):
        resumed.update(1.0)
    assert resumed.scale == 65536.0
    resumed.update(1.0)
    assert resumed.scale == 131072.0


def test_only_float16_needs_a_scale():
    of = {dtype: LossScale.of(dtype, torch.device("cpu")) for dtype in (torch.float16, torch.bfloat16, torch.float32)}
    assert [scale is None for scale in of.values()] == [False, True, True]


@pytest.mark.parametrize("overflows, diverged", [(16, False), (17, True)])
def test_a_scale_below_one_is_divergence_and_less_is_not(tmp_path, overflows, diverged):
    config = TrainingConfig(out=tmp_path / "run", steps=overflows, log_every=overflows, batch=1)
    slope, run = Slope(), RunFolder.open(config.out, "slope", config, free={"out"})
    loop = StepLoop(config, {"slope": slope.learner.part}, CPU, run)

    def step(number: int) -> None:
        loop.meter.add(loss=Tensor([1.0]), **slope.update(float("inf")))

    if not diverged:
        loop.run("slope", step)
        (line,) = run.metrics()
        assert line["skipped"] == 1.0 and "gradient_norm" not in line
        return
    message = (
        "diverged by step 17: the gradients of the slope overflow float16 at every step.*; there was no checkpoint"
    )
    with pytest.raises(NotFiniteError, match=message):
        loop.run("slope", step)
    assert not list((config.out / "checkpoints").glob("*")) and slope.weight == 1.0
