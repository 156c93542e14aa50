"""Models that draw in a few steps, such as SDXL-Turbo and Lightning: they are trained at the timesteps of these alone.

Nothing in such a model's folder says for certain that it is one, so the user names the timesteps, or a `palate.json`
beside the model does: `{"timesteps": [249, 499, 749, 999]}`. A run writes them into the `palate.json` of its own model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from palate.core.errors import InputError
from palate.models.families import adapter_of
from palate.models.parts import read_json
from palate.models.source import SCHEDULER, ModelSource


def few_steps(source: ModelSource, given: Sequence[int] = ()) -> tuple[int, ...]:
    """The only timesteps at which a model is trained, in ascending order; empty for all.

    Args:
        source: the model.
        given: those that the user named; the model's own when empty.

    Raises:
        InputError: the model's family does not have integer timesteps, or these are not among them.
    """
    chosen = sorted(set(given or source.timesteps))
    if not chosen:
        return ()
    adapter = adapter_of(source)
    if not adapter.takes_timesteps:
        raise InputError(f"{adapter.title} is not trained at timesteps of the user's choice; leave them out")
    count = _scheduler(source).get("num_train_timesteps", 1000)
    if wrong := [each for each in chosen if not 0 <= each < count]:
        raise InputError(f"{wrong[0]} is not a timestep of the model; they go from 0 to {count - 1}")
    return tuple(chosen)


def few_steps_notes(source: ModelSource, chosen: Sequence[int]) -> list[str]:
    """What a user should know before a model is trained at some timesteps (`few_steps`) or at all."""
    if not adapter_of(source).takes_timesteps:
        return []
    scheduler = _scheduler(source)
    noise, last = (
        scheduler.get("prediction_type", "epsilon") == "epsilon",
        scheduler.get("num_train_timesteps", 1000) - 1,
    )
    if not chosen:
        if scheduler.get("timestep_spacing") != "trailing" or not noise:
            return []
        what = f"the scheduler of {source.base} counts timesteps from the last, as that of a model for few steps does"
        fix = "if it is one, name its timesteps, or it will need many steps: --timesteps 249 499 749 999 for four"
        return [f"{what}; {fix}"]
    shown = ", ".join(map(str, chosen))
    notes = [f"only the timesteps {shown} are trained, so draw in {len(chosen)} steps; with more, images may get worse"]
    if last in chosen and noise:
        what = f"timestep {last} is pure noise, where images of a set look the same: comparisons learn nothing there"
        notes.append(f"{what}, and sft only that noise is noise; leave {last} out to train the others alone")
    return notes


def _scheduler(source: ModelSource) -> dict[str, Any]:
    return read_json(source.folder / SCHEDULER / "scheduler_config.json")
