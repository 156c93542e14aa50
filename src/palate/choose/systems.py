"""`palate generate` with several models or numbers of steps: a run folder for each of these systems."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from pathlib import Path

from palate.choose.best_of import BestOfConfig, generate_best
from palate.core.errors import InputError
from palate.core.runs import RunFolder
from palate.core.seeds import derive
from palate.generate.stage import FREE, Samplers
from palate.models.families import sizes_of
from palate.models.source import resolve

STAGE = "generate systems"
"""The stage of a folder whose sub-folders are runs of `palate generate`."""


@dataclass(frozen=True, kw_only=True)
class SystemsConfig(BestOfConfig):
    """The settings of `palate generate`."""

    model: str | tuple[str, ...]  # type: ignore[assignment]
    """Model to sample: a built-in name, a folder, a single .safetensors file, a run of `palate align` or a hub id; with
    LoRAs, BASE+LORA.safetensors:0.8. Several are drawn one after the other, each into a folder of its own in out."""
    steps: int | tuple[int, ...] | None = None  # type: ignore[assignment]
    """Denoising steps; the model's own default when left out. With several, each model draws with each of them."""
    paired: bool = True
    """Several systems draw from the same seeds; without it each has seeds of its own."""

    def __post_init__(self) -> None:
        for name in ("model", "steps"):  # so that a flag with one value and a file's one value are the same
            value = getattr(self, name)
            if isinstance(value, tuple) and len(value) == 1:
                object.__setattr__(self, name, value[0])
        if () in (self.model, self.steps):
            raise ValueError("model and steps need a value; leave steps out for each model's own")
        self.systems()  # checks the settings of each

    @property
    def several(self) -> bool:
        """Whether there are several systems."""
        return isinstance(self.model, tuple) or isinstance(self.steps, tuple)

    def systems(self) -> dict[str, BestOfConfig]:
        """The settings of each system by the name of its folder in `out`; one system alone is drawn into `out` itself.

        Raises:
            ValueError: two systems are the same or would have the same folder.
        """
        models = self.model if isinstance(self.model, tuple) else (self.model,)
        counts = self.steps if isinstance(self.steps, tuple) else (self.steps,)
        shared = {field.name: getattr(self, field.name) for field in fields(BestOfConfig)}
        found: dict[str, BestOfConfig] = {}
        for model in models:
            for steps in counts:
                name = _folder_name(model) + (f"-{steps}-steps" if isinstance(self.steps, tuple) else "")
                if name in found:
                    raise ValueError(f"two systems would be in the folder {name}; give each model and steps once")
                own = {} if self.paired else {"seed": derive(self.seed, "system", name)}
                out = self.out / name if self.several else self.out
                found[name] = BestOfConfig(**{**shared, "model": model, "steps": steps, "out": out, **own})
        return found


def generate_systems(config: SystemsConfig) -> Path:
    """Draws the same prompts with each system; one model is in memory at a time, and loaded once for all its steps.

    Returns:
        The run folder; of several systems, the folder of their run folders, in which each line of `metadata.jsonl` also
        has `system`, such as `tiny-sd@4 steps`.

    Raises:
        InputError: see `generate_best`; of several systems, every model is found and its size is checked before the
            first is drawn, and the message names the system.
        RunFolderError: a folder contains another run.
    """
    systems = config.systems()
    if not config.several:
        (single,) = systems.values()
        return generate_best(single)
    identities = {}
    for name, each in systems.items():
        try:
            source = resolve(each.model)
            source.check()
            if each.height or each.width:
                sizes = sizes_of(source)
                sizes.require(each.height or sizes.native, each.width or sizes.native)
        except InputError as error:
            raise InputError(f"system {name}: {error}") from error
        identities[f"model {each.model}"] = source.identity()
    run, samplers = RunFolder.open(config.out, STAGE, config, free=FREE, inputs=identities), Samplers()
    summaries = {}
    for name, each in systems.items():
        try:
            summaries[name] = RunFolder(generate_best(each, samplers)).finished
        except InputError as error:
            raise InputError(f"system {name}: {error}") from error
    finished = [summary for summary in summaries.values() if summary]
    if len(finished) == len(systems):
        counts = {name: summary["images"] for name, summary in zip(summaries, finished, strict=True)}
        run.finish({"images": sum(counts.values()), "prompts": finished[0]["prompts"], "systems": counts})
    return run.path


def _folder_name(model: str) -> str:
    """A short name of a model that can be the name of a folder."""
    return re.sub(r"[^\w.]+", "-", Path(model).name.removesuffix(".safetensors")).strip("-.") or "model"
