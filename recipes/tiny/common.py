"""The common part of the tiny recipes: folders, and a training loop that can be interrupted and resumed."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from palate.core.seeds import torch_generator

SEED = 20240601
ROOT = Path(__file__).resolve().parents[2]
WORK = Path(os.environ.get("PALATE_TINY_WORK", ROOT / "runs" / "tiny"))
SHIPPED = ROOT / "src" / "palate" / "weights"


@dataclass
class Checkpoint:
    """The state of a training that is saved: weights, their average, the optimizer, and the number of steps done."""

    path: Path
    modules: dict[str, torch.nn.Module]
    optimizer: torch.optim.Optimizer
    average: list[torch.Tensor]

    def save(self, step: int) -> None:
        modules = {name: module.state_dict() for name, module in self.modules.items()}
        state = {"modules": modules, "optimizer": self.optimizer.state_dict(), "shadow": self.average, "step": step}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(state, self.path.with_suffix(".part"))
        self.path.with_suffix(".part").replace(self.path)

    def load(self) -> int:
        """Restores the saved state, if there is one; returns the number of steps that are done."""
        if not self.path.exists():
            return 0
        state = torch.load(self.path, weights_only=True)
        for name, module in self.modules.items():
            module.load_state_dict(state["modules"][name])
        self.optimizer.load_state_dict(state["optimizer"])
        for mean, saved in zip(self.average, state["shadow"], strict=True):
            mean.copy_(saved)
        return state["step"]


def train(
    name: str,
    modules: dict[str, torch.nn.Module],
    optimizer: torch.optim.Optimizer,
    loss_of_step: Callable[[int], torch.Tensor],
    steps: int,
    *,
    schedule: Callable[[int], float],
    average: float | None = None,
    every: int = 250,
) -> None:
    """Runs `steps` steps, saves a checkpoint every few hundred, and continues from the last one if it exists.

    Args:
        name: names the checkpoint file under WORK.
        modules: what is trained and saved, by name; they end with the averaged weights where there is an average.
        loss_of_step: the mean loss of a step; its randomness must depend on the step alone.
        schedule: learning-rate factor of a step.
        average: decay of an exponential moving average of the weights, or None.
    """
    rates = [group["lr"] for group in optimizer.param_groups]
    parameters = [p for m in modules.values() for p in m.parameters() if p.requires_grad]
    shadow = [p.detach().clone() for p in parameters] if average else []
    checkpoint = Checkpoint(WORK / f"{name}.ckpt", modules, optimizer, shadow)
    first, start, running = checkpoint.load(), time.perf_counter(), 0.0
    for step in range(first, steps):
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * schedule(step)
        optimizer.zero_grad()
        loss = loss_of_step(step)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        for mean, p in zip(shadow, parameters, strict=False):
            mean.lerp_(p.detach(), 1 - min(average or 0, (1 + step) / (10 + step)))
        running += (loss.item() - running) / min(step + 1 - first, 50)
        if (step + 1) % 50 == 0:
            rate = (time.perf_counter() - start) / (step + 1 - first)
            print(f"{name} {step + 1}/{steps} loss {running:.4f} {rate:.3f} s/step", flush=True)
        if (step + 1) % every == 0 or step + 1 == steps:
            checkpoint.save(step + 1)
    for mean, p in zip(shadow, parameters, strict=False):
        p.data.copy_(mean)


def warm_cosine(steps: int, warmup: int = 100, floor: float = 0.02) -> Callable[[int], float]:
    """Linear warm-up, then a cosine down to `floor`."""

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        done = (step - warmup) / max(steps - warmup, 1)
        return floor + (1 - floor) * 0.5 * (1 + torch.cos(torch.tensor(torch.pi * min(done, 1.0))).item())

    return factor


def warm_steady_decay(steps: int, warmup: int = 100, decay: float = 0.25) -> Callable[[int], float]:
    """Linear warm-up, constant, then linear to nearly zero over the last share `decay` of the steps.

    Unlike a cosine it does not depend on `steps` until the decay begins, so a run may be ended early or prolonged
    (Hägele et al. 2024, arXiv:2405.18392).
    """

    def factor(step: int) -> float:
        return min((step + 1) / warmup, 1.0, max((steps - step) / (decay * steps), 0.01))

    return factor


def batches(purpose: str, size: int, batch: int) -> Callable[[int], torch.Tensor]:
    """The indices [batch] of a step: without replacement within a pass, a new order each pass."""

    def indices(step: int) -> torch.Tensor:
        per_pass = size // batch
        order = torch.randperm(size, generator=torch_generator(SEED, purpose, "order", step // per_pass))
        return order[(step % per_pass) * batch : (step % per_pass + 1) * batch]

    return indices


def chunks(n: int, size: int) -> Iterator[range]:
    for start in range(0, n, size):
        yield range(start, min(start + size, n))
