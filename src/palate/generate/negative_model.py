"""Drawing with a negative model: what is checked before it is loaded, and loading it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from palate.core.errors import InputError
from palate.models.families import find_adapter
from palate.models.load import load_denoiser
from palate.models.negative import use_negative

if TYPE_CHECKING:
    from palate.models.denoiser import Denoiser
    from palate.models.source import ModelSource


def require_negative(source: ModelSource, negative: ModelSource) -> None:
    """Checks two models without reading weights.

    Args:
        source: the model that draws.
        negative: the model that computes its predictions for the negative prompt.

    Raises:
        InputError: a negative model is not built for the family, the models are of different families, or a part is
            missing.
    """
    adapter: Any = find_adapter(source)
    if adapter is None or adapter.guidance_passes is None:
        what = adapter.title if adapter else f"a {source.family}"
        raise InputError(
            f"negative_model is not built for {source.base} ({what}), which guides in a way of its own; leave it out"
        )
    if adapter is not find_adapter(negative):
        raise InputError(
            f"negative_model {negative.base} is of another family than {source.base}; give one that `palate align "
            "--reverse` made of the same base"
        )
    negative.check()


def guide_by(denoiser: Denoiser, negative: ModelSource, scale: float, device: str, dtype: torch.dtype) -> None:
    """Loads a negative model's network and lets it compute the denoiser's predictions for the negative prompt.

    Raises:
        InputError: the pipeline does not guide at this scale.
    """
    if not denoiser.negates(scale):
        raise InputError(
            f"negative_model needs guidance, and a scale of {scale:g} turns it off; give --guidance above 1"
        )
    without = [*negative.readers(), "vae"]
    other = load_denoiser(negative, device=device, dtype=dtype, without=without)
    adapter: Any = denoiser
    use_negative(denoiser.network, other.network, adapter.guidance_passes)
