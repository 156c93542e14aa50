"""Checkpoints: everything that a run needs to continue exactly where it stopped.

checkpoints/step-N/policy.safetensors             the trained parameters; one such file for each trained part
                   policy-optimizer.safetensors   the state of its optimiser
                   policy-average.safetensors     the moving average of its parameters, with --ema; other averages
                                                  have other names
                   policy-scale.json              the scale of its loss, with --precision fp16
                   state.json                     the step, and the measurements since the last line of metrics

No random state is saved: randomness is keyed by its purpose (see `core.seeds`). A folder is written under a temporary
name and renamed, so a checkpoint is complete or absent whenever the process dies.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from palate.core.files import atomic_folder
from palate.training.average import WeightAverage
from palate.training.loss_scale import LossScale
from palate.training.optimizer import optimizer_tensors, restore_optimizer


class Part(NamedTuple):
    """A network that is trained, its optimiser, the moving averages of its weights by their names, such as `average`,
    and the scale of its loss, if it has one."""

    network: nn.Module
    optimizer: torch.optim.Optimizer
    averages: Mapping[str, WeightAverage] = MappingProxyType({})
    scale: LossScale | None = None


def save_checkpoint(folder: Path, parts: Mapping[str, Part], state: dict[str, Any], keep: int) -> None:
    """Writes `folder`/step-N for `state["step"]` = N and removes all but the latest `keep` checkpoints."""
    with atomic_folder(folder / f"step-{state['step']}") as partial:
        for name, part in parts.items():
            save_file(_trained(part.network), partial / f"{name}.safetensors")
            save_file(optimizer_tensors(part.optimizer), partial / f"{name}-optimizer.safetensors")
            for which, average in part.averages.items():
                save_file(average.tensors(), partial / f"{name}-{which}.safetensors")
            if part.scale:
                (partial / f"{name}-scale.json").write_text(json.dumps(part.scale.state()))
        (partial / "state.json").write_text(json.dumps(state))
    for old in checkpoints(folder)[:-keep]:
        shutil.rmtree(old)


def load_checkpoint(path: Path, parts: Mapping[str, Part]) -> dict[str, Any]:
    """Restores the trained parameters and the optimisers from step-N and returns its state."""
    for name, part in parts.items():
        weights = load_file(path / f"{name}.safetensors")
        with torch.no_grad():
            for key, parameter in _trained(part.network).items():
                parameter.copy_(weights[key])
        restore_optimizer(part.optimizer, load_file(path / f"{name}-optimizer.safetensors"))
        for which, average in part.averages.items():
            average.restore(load_file(path / f"{name}-{which}.safetensors"))
        if part.scale:
            part.scale.restore(json.loads((path / f"{name}-scale.json").read_text()))
    return json.loads((path / "state.json").read_text())


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoints of a run, oldest first."""
    return sorted(folder.glob("step-*"), key=lambda path: int(path.name.removeprefix("step-")))


def tensors_of(part: Part) -> Iterator[tuple[str, torch.Tensor]]:
    """The trained parameters and the optimiser's state by name: the tensors of a part in a checkpoint."""
    yield from _trained(part.network).items()
    yield from ((f"optimizer.{name}", value) for name, value in optimizer_tensors(part.optimizer).items())


def _trained(network: nn.Module) -> dict[str, torch.Tensor]:
    return {name: parameter.data for name, parameter in network.named_parameters() if parameter.requires_grad}
