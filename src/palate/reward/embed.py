"""Features of distinct images and prompts: computed once where the backbone stands still, else at every step."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from palate.core.finite import require_finite
from palate.core.progress import bar
from palate.reward.examples import Examples
from palate.score.backbone import Backbone, fingerprint
from palate.training.cache import cached_rows, digest

if TYPE_CHECKING:
    from accelerate import Accelerator

AT_ONCE = 64


class Frozen:
    """Features of all images [I, D] and prompts [P, E], cached on disk and held in memory."""

    def __init__(self, backbone: Backbone, examples: Examples, root: Path, accelerator: Accelerator) -> None:
        identity, device = fingerprint(backbone), accelerator.device

        @torch.no_grad()
        def see(rows: Tensor) -> dict[str, Tensor]:
            images = [examples.images[row].open() for row in rows.tolist()]
            return finite("images", backbone.see(backbone.read(images).to(device)).float())

        @torch.no_grad()
        def tell(rows: Tensor) -> dict[str, Tensor]:
            return finite("prompts", backbone.tell([examples.prompts[row] for row in rows.tolist()]).float())

        def finite(what: str, features: Tensor) -> dict[str, Tensor]:
            fix = "give another --backbone, or its weights in float32"
            require_finite(f"{backbone.name}'s features of {what}", features, fix=fix)
            return {"features": features}

        images = digest(identity, [image.digest() for image in examples.images])
        with bar("features of images", len(examples.images)) as progress:
            path = root / f"image-features-{images}.safetensors"
            found = cached_rows(path, len(examples.images), see, AT_ONCE, progress, accelerator)
            self.image = found["features"].to(device)
        self.prompt = torch.zeros(len(examples.prompts), 0, device=device)
        if backbone.widths[1]:
            with bar("features of prompts", len(examples.prompts)) as progress:
                path = root / f"prompt-features-{digest(identity, examples.prompts)}.safetensors"
                found = cached_rows(path, len(examples.prompts), tell, AT_ONCE, progress, accelerator)
                self.prompt = found["features"].to(device)

    def __call__(self, image: np.ndarray, prompt: np.ndarray) -> tuple[Tensor, Tensor]:
        """Features [..., D] and [..., E] of images and prompts by their numbers."""
        return self.image[torch.from_numpy(image)], self.prompt[torch.from_numpy(prompt)]


class Learning:
    """Features through a backbone that learns: each distinct image and prompt of a batch goes through once.

    Args:
        dtype: that the backbone computes in.
    """

    def __init__(self, backbone: Backbone, examples: Examples, dtype: torch.dtype) -> None:
        self.backbone, self.examples, self.dtype = backbone, examples, dtype
        network: Any = backbone.network
        if dtype == torch.bfloat16 and next(network.parameters()).device.type == "cpu":
            network.set_attn_implementation("eager")  # on a CPU the fused backward in bfloat16 is the slower one

    def __call__(self, image: np.ndarray, prompt: np.ndarray) -> tuple[Tensor, Tensor]:
        """Features [..., D] and [..., E] of images and prompts by their numbers."""
        images, where = np.unique(image, return_inverse=True)
        prompts, told_where = np.unique(prompt, return_inverse=True)
        backbone, examples, network = self.backbone, self.examples, self.backbone.network
        device = next(network.parameters()).device if network is not None else torch.device("cpu")
        inputs = backbone.read([examples.images[row].open() for row in images]).to(device)
        with torch.autocast(device.type, self.dtype, enabled=self.dtype != torch.float32):
            seen, told = backbone.see(inputs), backbone.tell([examples.prompts[row] for row in prompts])
        return seen.float()[_places(where, image)], told.float()[_places(told_where, prompt)]


def _places(inverse: np.ndarray, like: np.ndarray) -> Tensor:
    return torch.from_numpy(inverse.reshape(like.shape))
