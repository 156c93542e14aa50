"""The names that plug-ins define: prompt sets, scorers, models, preferences, captioners and judges.

A plug-in is a module with a `PLUGIN` that is listed in `MODULES`. The packages of the loop look names up here and do
not depend on any plug-in. Importing the module must be fast: heavy modules are imported inside the functions.
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
class ScorerFacts:
    """What `palate scorers` says of a family of scorers.

    Attributes:
        title: what it measures, in a few words.
        values: the range of its scores, and which differences count.
        licence: of the weights, as their authors state it.
        size: parameters and download.
        source: the paper or the code that defines it.
        needs: packages beside those that Palate installs: the name for pip by the module's name.
    """

    title: str
    values: str
    licence: str
    size: str
    source: str
    needs: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ScorerFamily:
    """A family of scorers, the first word of a spec `family:argument`.

    Attributes:
        load: makes a `score.base.Scorer` from the argument and the device; a function or class, or its name as
            `module:name`, whose module is imported only when it is needed.
        example: a complete spec.
        default: the argument of a spec without one; empty if a spec needs one.
        facts: what `palate scorers` says of it; when left out, the attribute `facts` of what `load` is or names.
        trains: whether its scores may rank images, choose them or be a reward; False for a judge of results.
    """

    load: Callable[[str, str], Any] | str
    example: str
    default: str = ""
    facts: ScorerFacts | None = None
    trains: bool = True

    def loader(self) -> Callable[[str, str], Any]:
        """The function or class that `load` is or names."""
        if not isinstance(self.load, str):
            return self.load
        module, _, name = self.load.partition(":")
        return getattr(import_module(module), name)


@dataclass(frozen=True)
class Plugin:
    """The parts of one plug-in, by the names that users give.

    Attributes:
        prompts: functions that return the prompts of a set, in order.
        scorers: families of scorers.
        models: folders of pipelines, or of CLIP-like models.
        preferences: Parquet files of ranked sets.
        captioners: functions from the device to a `caption.captioner.Captioner`.
        judges: functions without arguments that return an `evaluate.judge.Judge`.
    """

    prompts: Mapping[str, Callable[[], Sequence[str]]] = field(default_factory=dict)
    scorers: Mapping[str, ScorerFamily] = field(default_factory=dict)
    models: Mapping[str, Path] = field(default_factory=dict)
    preferences: Mapping[str, Path] = field(default_factory=dict)
    captioners: Mapping[str, Callable[[str], Any]] = field(default_factory=dict)
    judges: Mapping[str, Callable[[], Any]] = field(default_factory=dict)


@cache
def plugins() -> Plugin:
    """The parts of all plug-ins, merged."""
    every = [import_module(module).PLUGIN for module in MODULES]
    kinds = [field.name for field in fields(Plugin)]
    return Plugin(**{kind: _merged(getattr(each, kind) for each in every) for kind in kinds})


def _merged(mappings: Any) -> Mapping[str, Any]:
    merged: dict[str, Any] = {}
    for mapping in mappings:
        if twice := merged.keys() & mapping.keys():
            raise ValueError(f"two plug-ins define the name {min(twice)!r}")
        merged |= mapping
    return MappingProxyType(merged)
