"""A pipeline as one safetensors file in the layout of its authors, which ComfyUI, AUTOMATIC1111 and diffusers read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from palate.core.cache_folder import require_space
from palate.core.errors import InputError
from palate.core.files import partial_name
from palate.models.layouts import LAYOUTS, SD1, SD2, V_PREDICTION, ZERO_SNR, Layout
from palate.models.original_names import CONVOLUTION, SWAPPED, TRANSPOSED, OriginalTensor
from palate.models.source import SCHEDULER, ModelSource
from palate.models.tensor_files import StoredTensor, in_memory, joined, write_tensors

ARCHITECTURES = {
    "Stable Diffusion 1": "stable-diffusion-v1",
    "Stable Diffusion 2": "stable-diffusion-v2-512",
    "Stable Diffusion XL": "stable-diffusion-xl-v1-base",
    "Stable Diffusion XL's refiner": "stable-diffusion-xl-v1-refiner",
    "FLUX.1": "flux-1-dev",
}
"""Names of https://github.com/Stability-AI/ModelSpec, by which programs list a file."""


def layout_of(source: ModelSource) -> Layout:
    """The layout in which a model can be written.

    Raises:
        InputError: its family has none.
    """
    found = next((layout for layout in LAYOUTS if layout.pipeline == source.family), None)
    if found is None:
        others = ", ".join(layout.title for layout in LAYOUTS)
        what = f"a {source.family} has no layout of a single file that other programs share"
        raise InputError(f"{what}; {others} have: name a folder with --out instead")
    if found is SD1 and source.config("unet").get("cross_attention_dim") == 1024:  # the width of OpenCLIP's encoder
        return SD2
    return found


def original_tensors(pipeline: Any, layout: Layout) -> dict[str, StoredTensor]:
    """The tensors of a pipeline in memory, as the layout names and shapes them.

    Raises:
        InputError: the pipeline lacks a part.
    """
    found: dict[str, StoredTensor] = {}
    for part, stored in layout.parts.items():
        module = getattr(pipeline, part, None)
        if module is None:
            raise InputError(f"the model has no {part!r}, which a single file of {layout.title} has; name a folder")
        tied = set(getattr(module, "_tied_weights_keys", None) or ())
        state = {name: in_memory(value) for name, value in module.state_dict().items() if name not in tied}
        for name, original in stored.names(state, _config(module)).items():
            found[stored.prefix + name] = _stored(original, state)
    found |= {name: StoredTensor("F32", (0,), lambda *_: iter(()), 0) for name in _marks(pipeline)}
    return found


def write_single_file(pipeline: Any, layout: Layout, file: Path, title: str) -> None:
    """Writes a pipeline into one file, completely or not at all.

    Raises:
        PalateError: the disk has too little space.
    """
    tensors = original_tensors(pipeline, layout)
    size = sum(tensor.size for tensor in tensors.values())
    require_space(file.parent, size, f"the file {file}", "free some, or name another disk with --out")
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = partial_name(file)
    about = {"format": "pt", "modelspec.sai_model_spec": "1.0.0", "modelspec.title": title}
    try:
        write_tensors(partial, tensors, about | {"modelspec.architecture": _architecture(layout, tensors)})
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)


def _stored(original: OriginalTensor, state: Mapping[str, StoredTensor]) -> StoredTensor:
    tensor = joined([state[part] for part in original.parts])
    if original.form == TRANSPOSED:
        return tensor.transposed()
    if original.form == SWAPPED:
        return tensor.halves_swapped()
    return tensor.reshaped(*tensor.shape, 1, 1) if original.form == CONVOLUTION else tensor


def _config(module: Any) -> Mapping[str, Any]:
    return module.config if isinstance(module.config, Mapping) else module.config.to_dict()


def _marks(pipeline: Any) -> list[str]:
    """The empty tensors that say what the network predicts, where it is not the noise."""
    config = getattr(pipeline, SCHEDULER).config
    v_prediction = config.get("prediction_type") == "v_prediction"
    return [
        *([V_PREDICTION] if v_prediction else []),
        *([ZERO_SNR] if config.get("rescale_betas_zero_snr") else []),
    ]


def _architecture(layout: Layout, tensors: Mapping[str, StoredTensor]) -> str:
    schnell = layout.title == "FLUX.1" and not any("guidance_in." in name for name in tensors)
    return "flux-1-schnell" if schnell else ARCHITECTURES[layout.title]
