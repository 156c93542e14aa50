"""Accelerate's trackers: sends the metrics of a run to tensorboard, wandb or trackio as well."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from palate.core.config import to_mapping
from palate.core.errors import ConfigError
from palate.training.config import TrainingConfig

if TYPE_CHECKING:
    from accelerate import Accelerator

PROJECT = "palate"


def require_tracker(tracker: str | None) -> None:
    """Raises ConfigError if the tracker is not installed."""
    if tracker and find_spec(tracker) is None:
        raise ConfigError(f"the tracker {tracker} is not installed; pip install 'palate[track]'")


@contextmanager
def tracked(accelerator: Accelerator, config: TrainingConfig) -> Iterator[None]:
    """Starts the tracker that the configuration names, if any, and closes it when the block ends.

    Tensorboard and wandb write into the run folder; wandb also sends to its server unless it is configured to be
    offline; trackio writes where its own dashboard reads. The run has the name of its folder.
    """
    name = Path(config.out).resolve().name
    own = {
        "tensorboard": {},
        "wandb": {"name": name, "dir": str(config.out)},
        "trackio": {"name": name, "embed": False},
    }
    accelerator.init_trackers(PROJECT, config=flat(to_mapping(config)), init_kwargs=own)
    try:
        yield
    finally:
        for tracker in accelerator.trackers:
            tracker.finish()
        accelerator.trackers = []


def flat(mapping: Mapping[str, Any], prefix: str = "") -> dict[str, bool | int | float | str]:
    """The values of a configuration in a form that every tracker takes: nested keys dotted, lists and None as text."""
    found = {}
    for key, value in mapping.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{key}.")
        else:
            plain = " ".join(map(str, value)) if isinstance(value, (list, tuple)) else value
            found[f"{prefix}{key}"] = plain if isinstance(plain, (bool, int, float, str)) else str(plain).lower()
    return found
