"""Names that plug-ins bring: prompt sets, scorers, models, preferences, captioners and judges.

A plug-in is a module with a `PLUGIN`, listed in `MODULES`. The packages of the loop ask here for a name and know no
plug-in by its own name. Importing the module must be cheap: whatever is heavy is imported by the functions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cache
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any

MODULES = ("palate.world.plugin",)
"""The modules of the plug-ins."""


@dataclass(frozen=True)
class ScorerFamily:
    """What the first word of a scorer's spec, `family:argument`, stands for.

    Attributes:
        load: from the argument and the device to a `score.base.Scorer`.
        example: a whole spec.
        trains: whether its scores may rank images, choose them or be a reward; not so for a judge that results are
            reported by.
    """

    load: Callable[[str, str], Any]
    example: str
    trains: bool = True


@dataclass(frozen=True)
class Plugin:
    """What one plug-in brings, each by the name that users give it.

    Attributes:
        prompts: functions that return the prompts of a set, in order.
        scorers: families of scorers.
        models: folders of pipelines, or of CLIP-like models.
        preferences: Parquet files of ranked sets.
        captioners: from the device to a `caption.captioner.Captioner`.
        judges: from nothing to an `evaluate.judge.Judge`.
    """

    prompts: Mapping[str, Callable[[], Sequence[str]]] = field(default_factory=dict)
    scorers: Mapping[str, ScorerFamily] = field(default_factory=dict)
    models: Mapping[str, Path] = field(default_factory=dict)
    preferences: Mapping[str, Path] = field(default_factory=dict)
    captioners: Mapping[str, Callable[[str], Any]] = field(default_factory=dict)
    judges: Mapping[str, Callable[[], Any]] = field(default_factory=dict)


@cache
def plugins() -> Plugin:
    """All that the plug-ins bring, as one."""
    every = [import_module(module).PLUGIN for module in MODULES]
    kinds = [field.name for field in fields(Plugin)]
    return Plugin(**{kind: _merged(getattr(each, kind) for each in every) for kind in kinds})


def _merged(mappings: Any) -> Mapping[str, Any]:
    merged: dict[str, Any] = {}
    for mapping in mappings:
        if twice := merged.keys() & mapping.keys():
            raise ValueError(f"two plug-ins bring the name {min(twice)!r}")
        merged |= mapping
    return MappingProxyType(merged)
