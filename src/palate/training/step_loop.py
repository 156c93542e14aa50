"""The step loop of every training: resume, run steps, check for NaN, log, save checkpoints, stop on Ctrl-C.

The caller defines what a step does: one `Learner.update` in `align` and `reward`; in online training it would be a
rollout, its rewards and several updates. A step records its metrics in `meter` and never waits for the device; the
loop waits for it when it logs or saves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

import torch

from palate.core.finite import NotFiniteError, find_not_finite
from palate.core.progress import bar
from palate.core.runs import RunFolder
from palate.training.checkpoint import Part, checkpoints, load_checkpoint, save_checkpoint, tensors_of
from palate.training.config import TrainingConfig
from palate.training.interrupt import JointStop, deferred_interrupt
from palate.training.meter import Meter
from palate.training.observer import Observer
from palate.training.running_mean import RunningMean

if TYPE_CHECKING:
    from accelerate import Accelerator

SHOWN = ("loss", "accuracy")  # metrics shown beside the progress bar


class StepLoop:
    """Runs the steps of a training.

    Args:
        config: the settings of the training.
        parts: the trained networks and their optimisers, by name, as a checkpoint saves them.
        accelerator: the device and the processes.
        run: the folder for metrics and checkpoints; without one there are none, and an interrupted training starts
            again from the beginning.
        examples: the number of training examples, for the epoch in the metrics.
        observer: observes the training between its steps.
        numbers: averages over steps that belong to a checkpoint, by name.
    """

    def __init__(
        self,
        config: TrainingConfig,
        parts: Mapping[str, Part],
        accelerator: Accelerator,
        run: RunFolder | None = None,
        examples: int | None = None,
        observer: Observer | None = None,
        numbers: Mapping[str, RunningMean] = MappingProxyType({}),
    ) -> None:
        self.config, self.parts, self.accelerator = config, parts, accelerator
        self.run_folder, self.examples, self.observer, self.meter = run, examples, observer, Meter()
        self.numbers = numbers

    def run(self, title: str, step: Callable[[int], None]) -> None:
        """Runs all steps that are not in a checkpoint yet.

        Args:
            title: title of the progress bar.
            step: runs one step, the first being step 0, and records its metrics in `meter`.

        Raises:
            KeyboardInterrupt: Ctrl-C was pressed; a checkpoint of the last complete step has been saved.
            NotFiniteError: a metric or a weight is NaN or infinite, or the gradients overflow float16 at every step;
                the last checkpoint is from before that.
        """
        config, first = self.config, self._resume()
        agreement = JointStop(self.accelerator, first)
        with bar(title, config.steps, done=first) as progress, deferred_interrupt() as interrupted:
            if self.observer:
                self.observer.resumed(first)
            self._observe(first, interrupted)
            for done in range(first + 1, config.steps + 1):
                step(done - 1)
                self.meter.mark(done)
                last = done == config.steps
                log = last or done % config.log_every == 0
                stop = agreement.stop(interrupted(), done)
                save = last or stop or done % config.checkpoint_every == 0 or self._due(done)
                if log or save:
                    self._require_finite_measurements()
                    self._require_loss_scales(done)
                if save:
                    self._require_finite_weights(done)
                if log:
                    progress.set(self._log(done))
                    if self.observer:
                        self.observer.logged()
                if save:
                    self._save(done)
                progress.advance()
                if stop and not last:
                    raise KeyboardInterrupt
                self._observe(done, interrupted)

    def _due(self, done: int) -> bool:
        return self.observer is not None and self.observer.due(done)

    def _observe(self, done: int, interrupted: Callable[[], bool]) -> None:
        """Lets the observer do what is due after `done` steps; what it did before the run was resumed is not due."""
        if self.observer and self.observer.due(done) and not self.observer.observe(done, interrupted):
            raise KeyboardInterrupt

    def _resume(self) -> int:
        """Restores the latest checkpoint, if there is one; returns the number of steps that are done."""
        found = checkpoints(self.run_folder.path / "checkpoints") if self.run_folder else []
        state = load_checkpoint(found[-1], self.parts) if found else {"step": 0, "meter": {}}
        for name, number in self.numbers.items() if found else ():
            number.restore(state["numbers"][name])
        self.accelerator.wait_for_everyone()
        if self.run_folder and self.accelerator.is_main_process:
            self.run_folder.rewind(state["step"])
            self.meter.restore(state["meter"], self.accelerator.device)
        return state["step"]

    def _log(self, done: int) -> str:
        """Logs the means over the steps since the last line; returns the text to show beside the progress bar."""
        values = self.meter.fetch(self.accelerator) | {"lr": self.config.rate(done - 1)}
        if self.examples:
            values["epoch"] = round(done * self.config.batch / self.examples, 4)
        if self.run_folder and self.accelerator.is_main_process:
            self.run_folder.log(done, **values)
            self.accelerator.log(values, step=done)
        return "  ".join(f"{name} {values[name]:.3f}" for name in SHOWN if name in values)

    def _save(self, done: int) -> None:
        state = {"step": done, "meter": self.meter.state(self.accelerator)}
        state |= {"numbers": {name: number.state() for name, number in self.numbers.items()}} if self.numbers else {}
        if self.run_folder and self.accelerator.is_main_process:
            folder = self.run_folder.path / "checkpoints"
            save_checkpoint(folder, self.parts, state, self.config.keep_checkpoints)

    def _require_finite_measurements(self) -> None:
        if broken := self.meter.not_finite(self.accelerator):
            names = ", ".join(broken.names)
            raise NotFiniteError(f"training diverged at step {broken.step}: not finite: {names}; {self._advice()}")

    def _require_loss_scales(self, done: int) -> None:
        for name, part in self.parts.items():
            if part.scale and part.scale.collapsed:
                what = f"the gradients of the {name} overflow float16 at every step, whatever the scale of the loss"
                raise NotFiniteError(f"training diverged by step {done}: {what}; {self._advice()}")

    def _require_finite_weights(self, done: int) -> None:
        tensors = {f"{name}.{key}": value for name, part in self.parts.items() for key, value in tensors_of(part)}
        device = self.accelerator.device
        finite = torch.stack([value.isfinite().all().to(device, non_blocking=True) for value in tensors.values()])
        if not finite.all():  # waits for the device once, not once per tensor
            raise NotFiniteError(f"training diverged by step {done}: {find_not_finite(tensors)}; {self._advice()}")

    def _advice(self) -> str:
        """Which checkpoint a diverged training has kept, and how to start another."""
        found = checkpoints(self.run_folder.path / "checkpoints") if self.run_folder else []
        kept = f"the last good checkpoint is {found[-1].name}" if found else "there was no checkpoint yet"
        config = self.config
        now = f"now {config.learning_rate():g}, {config.warmup:g} and {config.clip:g}"
        fix = f"a lower --lr, a longer --warmup or a smaller --clip ({now}), or --precision fp32"
        return f"{kept}; start again with {fix}, in another --out"
