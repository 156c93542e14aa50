"""`palate scorers`: the scorers that can be named, what each measures and what it needs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from typing import Any

from palate.score.load import scorer_families


@dataclass(frozen=True, kw_only=True)
class ScorersConfig:
    """How the scorers are listed."""

    json: bool = False
    """Print one JSON list, with an object for each family."""


def list_scorers(config: ScorersConfig) -> Iterator[str]:
    """The lines that the command prints."""
    found = [_described(name) for name in sorted(scorer_families())]
    if config.json:
        yield json.dumps(found, indent=2)
        return
    for each in found:
        yield f"{each['name']}: {each['title']}"
        yield f"  written:   {each['spec']}"
        yield f"  values:    {each['values']}"
        yield f"  gradient:  {_shown(each['differentiable'])}; reads the prompt: {_shown(each['reads_prompt'])}"
        yield f"  weights:   {each['size']}; licence: {each['licence']}"
        yield f"  source:    {each['source']}"
        if each["needs"]:
            missing = " (not installed)" if each["missing"] else ""
            yield f"  needs:     pip install {' '.join(each['needs'].values())}{missing}"


def _described(name: str) -> dict[str, Any]:
    """What the class of a family says of it."""
    family = scorer_families()[name]
    kind: Any = family.loader()
    facts = family.facts or kind.facts
    return {
        "name": name,
        "spec": family.example,
        **asdict(facts),
        "differentiable": getattr(kind, "differentiable", None),
        "reads_prompt": getattr(kind, "reads_prompt", None),
        "trains": family.trains,
        "missing": [package for module, package in facts.needs.items() if find_spec(module) is None],
    }


def _shown(value: bool | None) -> str:
    return {True: "yes", False: "no", None: "it depends"}[value]
