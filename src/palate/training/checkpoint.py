"""Checkpoints: all that a run needs to go on as if nothing had happened.

checkpoints/step-N/policy.safetensors             the trained parameters; so for each part that learns
                   policy-optimizer.safetensors   its optimiser's state
                   state.json                     the step, and what was measured since the last line of metrics

There is no random state to keep: randomness is keyed by what it is for. Folders are made under another name and
renamed, so a checkpoint is whole or absent whenever the process dies.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from palate.core.files import atomic_folder
from palate.training.optimizer import optimizer_tensors, restore_optimizer


class Part(NamedTuple):
    """One thing that learns."""

    network: nn.Module
    optimizer: torch.optim.Optimizer


def save_checkpoint(folder: Path, parts: Mapping[str, Part], state: dict[str, Any], keep: int) -> None:
    """Writes `folder`/step-N for `state["step"]` = N and removes all but the latest `keep` checkpoints."""
    with atomic_folder(folder / f"step-{state['step']}") as partial:
        for name, part in parts.items():
            save_file(_trained(part.network), partial / f"{name}.safetensors")
            save_file(optimizer_tensors(part.optimizer), partial / f"{name}-optimizer.safetensors")
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
    return json.loads((path / "state.json").read_text())


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoints of a run, oldest first."""
    return sorted(folder.glob("step-*"), key=lambda path: int(path.name.removeprefix("step-")))


def tensors_of(part: Part) -> Iterator[tuple[str, torch.Tensor]]:
    """The trained parameters and the optimiser's state, by name: what a checkpoint holds of a part."""
    yield from _trained(part.network).items()
    yield from ((f"optimizer.{name}", value) for name, value in optimizer_tensors(part.optimizer).items())


def _trained(network: nn.Module) -> dict[str, torch.Tensor]:
    return {name: parameter.data for name, parameter in network.named_parameters() if parameter.requires_grad}
