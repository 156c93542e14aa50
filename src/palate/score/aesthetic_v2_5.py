"""Aesthetic predictor v2.5, from the user's own install: `aesthetic_v2_5`."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

import torch

from palate.core.device import pick_device
from palate.core.errors import InputError
from palate.core.plugins import ScorerFacts
from palate.records.decode import rgb
from palate.score.base import Images, require_package, state_digest, to_images

if TYPE_CHECKING:
    from torch import Tensor

MODULE, PACKAGE = "aesthetic_predictor_v2_5", "aesthetic-predictor-v2-5"
ENCODER = "google/siglip-so400m-patch14-384"


class AestheticV25Scorer:
    """The rating of an image from 1 to 10 by a head on SigLIP's features; the prompt is not read.

    The head and its code are under the AGPL and not part of Palate: they are those of the user's own install.

    Args:
        encoder: folder or hub id of the SigLIP, `ENCODER` as released, which may be followed by `@` and the path of the
            head's weights; without one the package downloads them.
        device: the best one when left out.

    Raises:
        InputError: the package is not installed, or cannot load its model.

    Reference: github.com/discus0434/aesthetic-predictor-v2-5.
    """

    facts = ScorerFacts(
        title="how beautiful people find an image (aesthetic predictor v2.5, SigLIP)",
        values="1 to 10; above 5.5 is good",
        licence="AGPL-3.0 (the package and its head); SigLIP: Apache-2.0",
        size="0.43 billion parameters, 1.7 GB",
        source="github.com/discus0434/aesthetic-predictor-v2-5",
        needs={MODULE: PACKAGE},
    )
    higher_is_better = True
    differentiable = False
    reads_prompt = False

    def __init__(self, encoder: str, device: str | None = None) -> None:
        require_package("aesthetic_v2_5", MODULE, PACKAGE)
        name, _, head = encoder.partition("@")
        convert = import_module(MODULE).convert_v2_5_from_siglip
        try:
            model, self._processor = convert(predictor_name_or_path=head or None, encoder_model_name=name)
        except (OSError, ValueError, RuntimeError, ImportError) as error:
            fix = f"fetch {name} into the hub's cache, and name the head's file after @ where the network is closed"
            raise InputError(f"cannot load aesthetic_v2_5: {str(error).splitlines()[0]}; {fix}") from error
        self.name, self._device = f"aesthetic_v2_5:{encoder}", torch.device(pick_device(device))
        self._model: Any = model.eval().requires_grad_(False).float().to(self._device)

    def fingerprint(self) -> str:
        """A digest of the weights; see `Scorer`."""
        return state_digest(self._model.state_dict(), PACKAGE)

    def __call__(self, images: Images, prompts: Sequence[str]) -> Tensor:
        """Scores [B]; see `Scorer`."""
        pixels = self._processor(images=[rgb(image) for image in to_images(images)], return_tensors="pt").pixel_values
        return self._model(pixels.to(self._device)).logits.view(-1).float().cpu()
