"""The step loop alone, with a network of two weights: what it logs, saves, resumes and refuses."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from palate.core.finite import NotFiniteError
from palate.core.runs import RunFolder
from palate.core.seeds import torch_generator
from palate.training.checkpoint import checkpoints
from palate.training.config import TrainingConfig
from palate.training.learner import Learner
from palate.training.optimizer import make_optimizer
from palate.training.step_loop import StepLoop

CPU = Accelerator(cpu=True)


class Line:
    """Fits a line with two updates per step, on samples that depend on its weights, as online training would."""

    def __init__(self, out: Path, spoil: Callable[[int, Line], None] = lambda *_: None, **changes: Any) -> None:
        settings = {"steps": 9, "log_every": 2, "checkpoint_every": 4, "batch": 6, "lr": 0.1, **changes}
        self.config, self.spoil = TrainingConfig(out=out, **settings), spoil
        self.network = nn.Linear(1, 1)
        for parameter in self.network.parameters():
            nn.init.zeros_(parameter)
        optimizer = make_optimizer(self.network, "adamw", 0.0)
        self.learner = Learner(self.network, optimizer, 1.0, CPU)
        self.run = RunFolder.open(out, "line", self.config, free={"out"})
        self.loop = StepLoop(self.config, {"line": self.learner.part}, CPU, self.run, examples=12)

    def train(self) -> Line:
        self.loop.run("line", self.step)
        return self

    def step(self, step: int) -> None:
        x = torch.randn(6, 1, generator=torch_generator(0, "x", step))
        reward = 3 * x + 1 + self.network(x).detach()  # a rollout depends on the weights
        for half in (slice(0, 3), slice(3, 6)):
            shares = [slice(half.start, half.start + 1), slice(half.start + 1, half.start + 2)]
            rate = self.config.rate(step)
            self.loop.meter.add(**self.learner.update(shares, lambda share: self.loss(x[share], reward[share]), rate))
        self.spoil(step, self)

    def loss(self, x: Tensor, reward: Tensor) -> Tensor:
        error = (self.network(x) - reward).square().flatten()
        self.loop.meter.add(loss=error.detach())
        return error.mean()

    def weights(self) -> list[float]:
        return [parameter.item() for parameter in self.network.parameters()]


def lines(out: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def names(out: Path) -> list[str]:
    return [path.name for path in checkpoints(out / "checkpoints")]


def test_it_logs_means_and_keeps_the_last_checkpoint(tmp_path):
    Line(tmp_path / "run").train()
    found = lines(tmp_path / "run")
    assert [line["step"] for line in found] == [2, 4, 6, 8, 9] and names(tmp_path / "run") == ["step-9"]
    assert set(found[0]) == {"step", "loss", "gradient_norm", "lr", "epoch"}
    assert found[1]["epoch"] == 4 * 6 / 12


def test_after_ctrl_c_a_resumed_run_ends_bit_for_bit_the_same(tmp_path):
    def press(step: int, line: Line) -> None:
        if step == 4:
            os.kill(os.getpid(), signal.SIGINT)

    undisturbed = Line(tmp_path / "undisturbed").train()
    with pytest.raises(KeyboardInterrupt):
        Line(tmp_path / "pressed", press).train()
    assert names(tmp_path / "pressed") == ["step-5"]
    assert Line(tmp_path / "pressed").train().weights() == undisturbed.weights()
    assert lines(tmp_path / "pressed") == lines(tmp_path / "undisturbed")


def test_a_measurement_that_is_not_finite_stops_the_run_with_its_step(tmp_path):
    def spoil(step: int, line: Line) -> None:
        if step == 4:
            line.loop.meter.add(accuracy=torch.tensor([1.0, float("nan")]))
        else:
            line.loop.meter.add(accuracy=torch.tensor([1.0, 1.0]))

    out = tmp_path / "run"
    with pytest.raises(NotFiniteError) as caught:
        Line(out, spoil).train()
    message = str(caught.value)
    assert message.startswith("training diverged at step 5: not finite: accuracy; the last good checkpoint is step-4;")
    assert "a lower --lr, a longer --warmup or a smaller --clip (now 0.1, 0.1 and 1)" in message
    assert names(out) == ["step-4"] and [line["step"] for line in lines(out)] == [2, 4]


@pytest.mark.parametrize("where", ["weight", "state"])
def test_weights_that_are_not_finite_are_never_saved(tmp_path, where):
    """All metrics are finite: only the last update overflowed."""

    def spoil(step: int, line: Line) -> None:
        if step == 7:
            state = line.learner.part.optimizer.state[line.network.weight]["exp_avg_sq"]
            (line.network.weight.data if where == "weight" else state).fill_(float("inf"))

    out = tmp_path / "run"
    with pytest.raises(
        NotFiniteError, match="training diverged by step 8: 'line[.].*': inf; the last good checkpoint is step-4"
    ):
        Line(out, spoil, log_every=100).train()
    assert names(out) == ["step-4"]


def test_the_message_says_when_there_is_no_checkpoint_yet(tmp_path):
    with pytest.raises(NotFiniteError, match="at step 1: not finite: loss, gradient_norm; there was no checkpoint yet"):
        Line(tmp_path / "run", clip=float("inf"), lr=1e30, warmup=0.0, log_every=1).train()


def test_between_logging_and_saving_nothing_waits_for_the_device(tmp_path, monkeypatch):
    def wait(*_: object) -> None:
        pytest.fail("a tensor was asked for its value")

    line = Line(tmp_path / "run", steps=4, log_every=4, checkpoint_every=4)
    step, mark = line.step, line.loop.meter.mark

    def watched(function: Callable[[int], None]) -> Callable[[int], None]:
        def call(number: int) -> None:
            with monkeypatch.context() as patch:
                for name in ("item", "tolist", "numpy", "cpu", "__bool__", "__float__", "__int__"):
                    patch.setattr(torch.Tensor, name, wait)
                function(number)

        return call

    monkeypatch.setattr(line, "step", watched(step))
    monkeypatch.setattr(line.loop.meter, "mark", watched(mark))
    line.train()
    assert len(lines(tmp_path / "run")) == 1


def test_without_a_run_folder_nothing_is_written(tmp_path):
    line = Line(tmp_path / "run")
    line.loop.run_folder = None
    line.train()
    assert {path.name for path in (tmp_path / "run").iterdir()} == {"config.yaml"}


class Watching:
    """An observer that is due at step 0 and at every third one, and that may be interrupted."""

    def __init__(self, out: Path, interrupted_at: int | None = None) -> None:
        self.out, self.interrupted_at, self.seen, self.lines = out, interrupted_at, [], 0

    def resumed(self, done: int) -> None:
        self.first = done

    def due(self, done: int) -> bool:
        return done % 3 == 0 and done not in [step for step, _ in self.seen]

    def observe(self, done: int, interrupted: Callable[[], bool]) -> bool:
        if done == self.interrupted_at:
            os.kill(os.getpid(), signal.SIGINT)
        if interrupted():
            return False
        self.seen.append((done, names(self.out) if done else []))
        return True

    def logged(self) -> None:
        self.lines += 1


def test_an_observer_is_called_after_a_checkpoint_of_its_step_and_after_each_line(tmp_path):
    line = Line(tmp_path / "run")
    line.loop.observer = watching = Watching(tmp_path / "run")
    line.train()
    assert watching.seen == [(0, []), (3, ["step-3"]), (6, ["step-6"]), (9, ["step-9"])]
    assert watching.first == 0 and watching.lines == len(lines(tmp_path / "run"))
    assert line.weights() == Line(tmp_path / "alone").train().weights()


def test_an_observer_that_was_interrupted_observes_again_when_the_run_is_resumed(tmp_path):
    first = Line(tmp_path / "run")
    first.loop.observer = Watching(tmp_path / "run", interrupted_at=6)
    with pytest.raises(KeyboardInterrupt):
        first.train()
    second = Line(tmp_path / "run")
    second.loop.observer = watching = Watching(tmp_path / "run")
    assert second.train().weights() == Line(tmp_path / "alone").train().weights()
    assert watching.first == 6 and [step for step, _ in watching.seen] == [6, 9]
