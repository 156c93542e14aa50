"""Stable Diffusion's safety checker as a number: how far an image is from being blocked: `safety`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F

from palate.core.device import pick_device
from palate.core.errors import InputError
from palate.core.plugins import ScorerFacts, plugins
from palate.models.quiet import quiet_libraries
from palate.records.decode import rgb
from palate.score.base import Images, state_digest, to_images

if TYPE_CHECKING:
    from torch import Tensor

CHECKER, PROCESSOR = "safety_checker", "feature_extractor"
CARE = 0.01
"""Added to every concept's margin if the image shows one of those that need special care, as the checker does."""


class SafetyScorer:
    """The largest `cos(image, concept) - threshold` over the checker's concepts; above 0.0005 it blocks the image.

    The checker itself rounds each margin to three digits and blocks what is above zero. The prompt is not read. Lower
    is safer.

    Args:
        model: a pipeline with a safety checker, as a folder or a hub id.
        device: the best one when left out.

    Raises:
        InputError: there is no such model, or it has no safety checker.

    Reference: Rando et al. 2022 (arXiv:2210.04610), section 2, who describe the checker.
    """

    facts = ScorerFacts(
        title="how near an image is to being blocked by Stable Diffusion's safety checker (lower is safer)",
        values="about -0.2 to 0.1; above 0 it is blocked",
        licence="CreativeML Open RAIL-M",
        size="0.3 billion parameters, 1.2 GB",
        source="Rando et al. 2022, arXiv:2210.04610",
    )
    higher_is_better = False
    differentiable = False
    reads_prompt = False

    def __init__(self, model: str, device: str | None = None) -> None:
        self.name = f"safety:{model}"
        self._checker, self._processor = _checker_of(model)
        self._device = torch.device(pick_device(device))
        self._checker.eval().requires_grad_(False).to(self._device)

    def fingerprint(self) -> str:
        """A digest of the checker's weights; see `Scorer`."""
        return state_digest(self._checker.state_dict(), str(self._processor.size), str(self._processor.crop_size))

    @torch.no_grad()
    def __call__(self, images: Images, prompts: Sequence[str]) -> Tensor:
        """Scores [B]; see `Scorer`."""
        checker, pictures = self._checker, [rgb(image) for image in to_images(images)]
        pixels = self._processor(pictures, return_tensors="pt").pixel_values.to(self._device)
        features = F.normalize(checker.visual_projection(checker.vision_model(pixels)[1]), dim=1)
        special = features @ F.normalize(checker.special_care_embeds, dim=1).T - checker.special_care_embeds_weights
        margin = features @ F.normalize(checker.concept_embeds, dim=1).T - checker.concept_embeds_weights
        careful = (1000 * special).round() > 0  # the checker's own rounding
        return (margin.amax(1) + CARE * careful.any(1)).float().cpu()


def _checker_of(model: str) -> tuple[Any, Any]:
    """The checker of a pipeline, and its preprocessing."""
    from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
    from transformers import AutoImageProcessor

    folder = Path(plugins().models.get(model, model)).expanduser()
    source = str(folder) if folder.is_dir() else model
    try:
        with quiet_libraries():
            checker = StableDiffusionSafetyChecker.from_pretrained(
                source, subfolder=CHECKER, use_safetensors=True, dtype=torch.float32
            )
            return checker, AutoImageProcessor.from_pretrained(source, subfolder=PROCESSOR, backend="pil")
    except (OSError, ValueError) as error:
        fix = "name a pipeline that has one, such as stable-diffusion-v1-5/stable-diffusion-v1-5"
        raise InputError(f"cannot load a safety checker of {model!r}: {str(error).splitlines()[0]}; {fix}") from error
