"""The model families that Palate can train: the adapter of each diffusers pipeline. A new one is a file and a line."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from palate.core.errors import InputError, nearest
from palate.models.source import ModelSource

if TYPE_CHECKING:
    from palate.models.adapter import Adapter
    from palate.models.sizes import Sizes

FAMILIES = {
    "StableDiffusionPipeline": "palate.models.stable_diffusion:StableDiffusion",
    "StableDiffusionXLPipeline": "palate.models.stable_diffusion_xl:StableDiffusionXL",
    "StableDiffusion3Pipeline": "palate.models.stable_diffusion_3:StableDiffusion3",
    "FluxPipeline": "palate.models.flux:Flux",
}
"""The adapter, as `module:class`, by the name of the pipeline's class."""


def find_adapter(source: ModelSource) -> type[Adapter] | None:
    """The adapter of a model's family; None if there is none, so that the model can generate but not be trained."""
    entry = FAMILIES.get(source.family)
    if entry is None:
        return None
    module, _, name = entry.partition(":")
    return getattr(import_module(module), name)


def adapter_of(source: ModelSource) -> type[Adapter]:
    """The adapter of a model's family.

    Raises:
        InputError: there is none, so Palate cannot train the model.
    """
    adapter = find_adapter(source)
    if adapter is None:
        hint = nearest(source.family, FAMILIES)
        raise InputError(f"{source.base} is a {source.family}; Palate trains {' and '.join(FAMILIES)}{hint}")
    return adapter


def sizes_of(source: ModelSource) -> Sizes:
    """The image sizes that a model takes, from its configuration; an estimate for a family without an adapter."""
    from palate.models.sizes import Sizes

    adapter = find_adapter(source)
    if adapter is not None:
        return adapter.sizes(source.config)
    levels = source.config("vae").get("block_out_channels", (1,) * 4) if "vae" in source.parts() else (1,)
    cells = source.config(source.network).get("sample_size") if source.network else None
    factor = 2 ** (len(levels) - 1)
    return Sizes((cells if isinstance(cells, int) else 128) * factor, factor)
