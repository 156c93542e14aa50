"""The systems that images come from: a model and its number of steps, or a folder of real images."""

from __future__ import annotations

SYSTEM = "system"
"""The column of a folder's metadata with the name of the system that made an image."""


def system_name(model: str, steps: int | None) -> str:
    """The name of a model at a number of steps.

    >>> system_name("tiny-sd", 4)
    'tiny-sd@4 steps'
    """
    return model if steps is None else f"{model}@{steps} step{'s' * (steps != 1)}"
