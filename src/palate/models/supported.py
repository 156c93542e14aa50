"""`palate models`: the model families that Palate trains, and why it does not train some others."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from palate.models.families import FAMILIES, UNSUPPORTED, load_adapter, missing_packages
from palate.models.layouts import OTHER_FAMILIES, READ_AND_WRITTEN

if TYPE_CHECKING:
    from palate.diffusion.parametrization import Parametrization


@dataclass(frozen=True, kw_only=True)
class ModelsConfig:
    """How the families are listed."""

    json: bool = False
    """Print one JSON object: `supported`, a list of families, and `unsupported`, the reasons by pipeline."""


@dataclass(frozen=True)
class SupportedFamily:
    """One family that Palate trains; its adapter says all of it.

    Attributes:
        name: the models of the family, in plain words.
        pipeline: the class of its diffusers pipeline.
        predicts: what its network predicts.
        guidance: how the scale of guidance has its effect.
        native_sizes: widths and heights in pixels of the pictures for which its models were released.
        lora_targets: the ends of the names of the layers that a LoRA changes unless the user names others.
        needs: packages beside those that Palate installs.
        missing: those of them that are not installed.
        single_file: whether a model may be one file in its authors' layout, and is exported as one.
    """

    name: str
    pipeline: str
    predicts: str
    guidance: str
    native_sizes: tuple[int, ...]
    lora_targets: tuple[str, ...]
    needs: tuple[str, ...]
    missing: tuple[str, ...]
    single_file: bool


def supported_families() -> list[SupportedFamily]:
    """All families that Palate trains, in the order of their names."""
    return sorted(map(_supported, FAMILIES), key=lambda family: family.name.lower())


def list_models(config: ModelsConfig) -> Iterator[str]:
    """The lines that the command prints."""
    families = supported_families()
    if config.json:
        yield json.dumps({"supported": [asdict(each) for each in families], "unsupported": UNSUPPORTED}, indent=2)
        return
    for each in families:
        yield f"{each.name} ({each.pipeline})"
        yield f"  predicts:  {each.predicts}"
        yield f"  guidance:  {each.guidance}"
        yield f"  native:    {' or '.join(map(str, each.native_sizes))} pixels a side"
        yield f"  LoRA of:   {', '.join(each.lora_targets)}"
        if each.single_file:
            yield "  one file:  read as a model, written by `palate export --to merged --out name.safetensors`"
        if each.needs:
            shown = (f"{name} (not installed)" if name in each.missing else name for name in each.needs)
            yield f"  needs:     {', '.join(shown)}"
    yield "\nA model is a built-in name, a folder, a file, a run or a hub id, and any of these with LoRAs at weights:"
    yield "  --model BASE+LORA.safetensors:0.8+OTHER.safetensors:0.5"
    yield f"Of {', '.join(family for _, family in OTHER_FAMILIES)} a file with the network alone is a model too."
    yield "\nNot trained (diffusers draws with them all the same):"
    for reason in dict.fromkeys(UNSUPPORTED.values()):
        yield f"  {', '.join(name for name, why in UNSUPPORTED.items() if why == reason)}:"
        yield f"    {reason}"


def _supported(family: str) -> SupportedFamily:
    adapter = load_adapter(family)
    return SupportedFamily(
        name=adapter.title,
        pipeline=family,
        predicts=_predicts(getattr(adapter, "parametrization", None)),
        guidance=adapter.guidance,
        native_sizes=adapter.native_sizes,
        lora_targets=adapter.lora_targets,
        needs=adapter.needs,
        missing=tuple(missing_packages(adapter)),
        single_file=family in READ_AND_WRITTEN,
    )


def _predicts(parametrization: Parametrization | None) -> str:
    """In the words of papers; a family without a parametrization of its own has it in each model's scheduler."""
    if parametrization is None:
        return "eps or v, as the model's scheduler says"
    return {"epsilon": "eps", "sample": "x_0", "v_prediction": "v"}.get(parametrization.value, parametrization.value)
