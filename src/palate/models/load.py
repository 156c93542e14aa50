"""Loads a model: as a diffusers pipeline for generation, or as a `Denoiser` for training."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from palate.core.errors import InputError
from palate.core.finite import require_finite
from palate.models.families import adapter_of
from palate.models.few_steps import few_steps
from palate.models.fuse import fuse_lora
from palate.models.quantize import Bits, quantize_network
from palate.models.quiet import quiet_libraries
from palate.models.source import UNUSED, ModelSource, builtin_models, resolve

if TYPE_CHECKING:
    import torch

    from palate.models.denoiser import Denoiser

__all__ = ["ModelSource", "builtin_models", "load_denoiser", "load_pipeline", "resolve"]


def load_pipeline(
    name: str | Path | ModelSource,
    *,
    device: str | torch.device | None = None,
    dtype: torch.dtype | None = None,
    without: Collection[str] = (),
    **parts: Any,
) -> Any:
    """The diffusers pipeline of a model, with its LoRAs fused into the weights.

    Args:
        name: see `resolve`.
        device: the device of the pipeline; the CPU when left out.
        dtype: the dtype of the weights; float32 when left out.
        without: parts that are not loaded, such as `("vae",)`.
        parts: loaded parts to use in the pipeline, such as `unet=network`.

    Raises:
        InputError: there is no such model, or a part is missing or damaged (raised before any weights are read); a LoRA
            cannot be used whole; or weights are not finite, like those of a diverged run.
    """
    import torch
    from diffusers import DiffusionPipeline

    source = name if isinstance(name, ModelSource) else resolve(name)
    left_out = (*without, *parts)
    source.check(without=left_out)
    absent = {part: None for part, kind in source.parts().items() if kind is None or part in without}
    settings = {"dtype": dtype or torch.float32, "variant": source.variant(left_out), "use_safetensors": True}
    with quiet_libraries():
        try:
            pipeline = DiffusionPipeline.from_pretrained(source.folder, **settings, **{**absent, **parts})
        except (ImportError, OSError, ValueError, AttributeError) as error:
            raise InputError(f"diffusers cannot open the model in {source.folder}: {error}") from error
        _require_finite_weights(pipeline, source, parts)
        for lora in source.loras:
            fuse_lora(pipeline, lora, [part for part in source.parts() if part not in (*absent, *parts)])
    pipeline.set_progress_bar_config(disable=True)
    return _moved(pipeline, device or "cpu")


def load_denoiser(
    name: str | Path | ModelSource,
    *,
    device: str | torch.device | None = None,
    dtype: torch.dtype | None = None,
    without: Collection[str] = (),
    timesteps: Sequence[int] = (),
    quantize: Bits | None = None,
) -> Denoiser:
    """The model as a `Denoiser`; for other arguments and errors see `load_pipeline`.

    Args:
        timesteps: the only ones that are trained; see `few_steps`.
        quantize: the bits in which the network's linear layers are kept; see `quantize_network`.

    Raises:
        InputError: also if Palate cannot train the model's family, or not at these timesteps.
    """
    source = name if isinstance(name, ModelSource) else resolve(name)
    adapter: Any = adapter_of(source)
    chosen = few_steps(source, timesteps)
    first = "cpu" if quantize else device  # the whole network may not fit on the device
    pipeline = load_pipeline(source, device=first, dtype=dtype, without=(*UNUSED, *without))
    if quantize:
        quantize_network(getattr(pipeline, source.network), quantize, device or "cpu")
        _moved(pipeline, device or "cpu")
    if source.network in without:  # Stable Diffusion 3 reads its transformer's configuration to embed a prompt
        setattr(pipeline, source.network, SimpleNamespace(config=SimpleNamespace(**source.config(source.network))))
    denoiser = adapter(pipeline)
    if chosen:
        denoiser.train_only(chosen)
    return denoiser


def _moved(pipeline: Any, device: str | torch.device) -> Any:
    """The pipeline on a device, without diffusers' warning that a CPU does not compute in float16, which it does."""
    with quiet_libraries():
        return pipeline.to(device)


def _require_finite_weights(pipeline: Any, source: ModelSource, given: Collection[str]) -> None:
    """Raises InputError, which names the part and the tensor, if a weight that was read is NaN or infinite."""
    for name, part in pipeline.components.items():
        if hasattr(part, "state_dict") and name not in given:
            what = f"the weights of the part {name!r} of the model in {source.folder}"
            require_finite(what, part.state_dict(), fix="the run that made it diverged", error=InputError)
