"""The model families that Palate can train: the adapter of each diffusers pipeline. A new one is a file and a line."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

from palate.core.errors import InputError, nearest
from palate.models.source import ModelSource

if TYPE_CHECKING:
    from palate.models.adapter import Adapter
    from palate.models.sizes import Sizes

FAMILIES = {
    "StableDiffusionPipeline": "palate.models.stable_diffusion:StableDiffusion",
    "StableDiffusionXLPipeline": "palate.models.stable_diffusion_xl:StableDiffusionXL",
    "StableDiffusionXLImg2ImgPipeline": "palate.models.stable_diffusion_xl_refiner:StableDiffusionXLRefiner",
    "HiDreamImagePipeline": "palate.models.hidream:HiDream",
    "HunyuanImagePipeline": "palate.models.hunyuan_image:HunyuanImage",
    "KolorsPipeline": "palate.models.kolors:Kolors",
    "StableDiffusion3Pipeline": "palate.models.stable_diffusion_3:StableDiffusion3",
    "ChromaPipeline": "palate.models.chroma:Chroma",
    "FluxPipeline": "palate.models.flux:Flux",
    "Flux2Pipeline": "palate.models.flux_2:Flux2Dev",
    "Flux2KleinPipeline": "palate.models.flux_2:Flux2Klein",
    "QwenImagePipeline": "palate.models.qwen_image:QwenImage",
    "ZImagePipeline": "palate.models.z_image:ZImage",
    "AuraFlowPipeline": "palate.models.auraflow:AuraFlow",
    "CogView4Pipeline": "palate.models.cogview_4:CogView4",
    "Lumina2Pipeline": "palate.models.lumina_2:Lumina2",
    "PixArtSigmaPipeline": "palate.models.pixart:PixArtSigma",
    "SanaPipeline": "palate.models.sana:Sana",
}
"""The adapter, as `module:class`, by the name of the pipeline's class."""

_IMAGE = "its network takes an image beside the prompt, and Palate trains text-to-image models"
_VIDEO = "it makes videos, and preferences here are between images"
_CASCADE = "several diffusion models draw a picture in turn, and Palate trains a single one"
_DISTILLED = "a consistency model: it is not trained by the error of a denoising step, which every method here needs"
_UNWRITTEN = "no adapter has been written for it yet"
UNSUPPORTED = {
    "AmusedPipeline": "it fills in masked tokens, so it has no noise whose prediction could be compared",
    "CogVideoXPipeline": _VIDEO,
    "CogView3PlusPipeline": _UNWRITTEN,
    "FluxControlPipeline": _IMAGE,
    "FluxFillPipeline": _IMAGE,
    "FluxKontextPipeline": _IMAGE,
    "HunyuanDiTPipeline": _UNWRITTEN,
    "HunyuanVideoPipeline": _VIDEO,
    "IFPipeline": _CASCADE,
    "Kandinsky3Pipeline": _UNWRITTEN,
    "KandinskyCombinedPipeline": _CASCADE,
    "KandinskyV22CombinedPipeline": _CASCADE,
    "LatentConsistencyModelPipeline": _DISTILLED,
    "LTXPipeline": _VIDEO,
    "LuminaPipeline": _UNWRITTEN,
    "OmniGenPipeline": _UNWRITTEN,
    "QwenImageEditPipeline": _IMAGE,
    "QwenImageEditPlusPipeline": _IMAGE,
    "SanaSprintPipeline": _DISTILLED,
    "StableCascadeCombinedPipeline": _CASCADE,
    "StableDiffusionDepth2ImgPipeline": _IMAGE,
    "StableDiffusionInpaintPipeline": _IMAGE,
    "StableDiffusionInstructPix2PixPipeline": _IMAGE,
    "StableDiffusionXLInpaintPipeline": _IMAGE,
    "StableVideoDiffusionPipeline": _VIDEO,
    "WanPipeline": _VIDEO,
    "WuerstchenCombinedPipeline": _CASCADE,
}
"""Why Palate does not train a model of a known pipeline, by the name of the pipeline's class."""


def find_adapter(source: ModelSource) -> type[Adapter] | None:
    """The adapter of a model's family; None if there is none, so that the model can generate but not be trained."""
    return load_adapter(source.family) if source.family in FAMILIES else None


def load_adapter(family: str) -> type[Adapter]:
    """The adapter of one of the `FAMILIES`."""
    module, _, name = FAMILIES[family].partition(":")
    return getattr(import_module(module), name)


def adapter_of(source: ModelSource) -> type[Adapter]:
    """The adapter of a model's family.

    Raises:
        InputError: there is none, or none for the model's configuration, so Palate cannot train the model; or a package
            is missing that its family needs.
    """
    adapter = find_adapter(source)
    if adapter is None:
        reason = UNSUPPORTED.get(source.family, f"this pipeline is not known{nearest(source.family, FAMILIES)}")
        fix = "`palate models` lists those that it trains"
        raise InputError(f"{source.base} is a {source.family}, which Palate does not train: {reason}; {fix}")
    if refusal := adapter.refusal(source.config):
        raise InputError(f"{source.base} is not trained: {refusal}; give the model from which it was distilled")
    needed = adapter.needed_by is None or adapter.needed_by in source.parts().values()
    if needed and (missing := missing_packages(adapter)):
        raise InputError(f"{adapter.title} needs {' and '.join(missing)}: pip install {' '.join(missing)}")
    return adapter


def missing_packages(adapter: type[Adapter]) -> list[str]:
    """The packages that a family needs and that are not installed."""
    return [package for package in adapter.needs if find_spec(package) is None]


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
