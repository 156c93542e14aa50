"""Features of images and prompts: cached if the backbone is not trained, otherwise computed at every step."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from palate.core.cache_folder import Entry, array_digest, digest, library_versions, texts_digest
from palate.core.finite import require_finite
from palate.core.progress import bar
from palate.reward.examples import RewardExamples
from palate.score.backbone import Backbone, backbone_fingerprint
from palate.training.row_cache import Compute, RowCache, cached_rows

if TYPE_CHECKING:
    from accelerate import Accelerator

AT_ONCE = 64


class CachedFeatures:
    """Features of images and prompts, kept in a cache on disk; the backbone computes in the dtype of its weights.

    Args:
        backbone: computes the features.
        examples: all examples.
        wanted: the numbers of the examples that will be used.
        root: folder of the cache.
        about: the data, which `palate cache` lists.
        accelerator: the device and the processes.
    """

    dtype = torch.float32  # of the features

    def __init__(
        self,
        backbone: Backbone,
        examples: RewardExamples,
        wanted: np.ndarray,
        root: Path,
        about: Mapping[str, object],
        accelerator: Accelerator,
    ) -> None:
        libraries = library_versions("transformers") if backbone.network is not None else ""
        identity, self.device = f"{backbone_fingerprint(backbone)} {libraries}", accelerator.device
        self._reads_prompts = backbone.widths[1] > 0

        @torch.no_grad()
        def of_images(rows: np.ndarray) -> dict[str, Tensor]:
            images = [examples.images[row].open() for row in rows.tolist()]
            pixels = backbone.preprocess(images).to(self.device)
            return _finite(backbone, "images", backbone.image_features(pixels).float())

        @torch.no_grad()
        def of_prompts(rows: np.ndarray) -> dict[str, Tensor]:
            return _finite(
                backbone, "prompts", backbone.prompt_features([examples.prompts[row] for row in rows.tolist()]).float()
            )

        def cached(kind: str, name: str, count: int, compute: Compute, rows: np.ndarray) -> RowCache:
            entry = Entry(root / f"{kind}-{digest(identity, name)}", {"kind": kind, "model": backbone.name, **about})
            self._entries.append(entry)
            with bar(kind.replace("-", " "), len(rows)) as progress:
                path = entry.folder / "rows.safetensors"
                return cached_rows(path, count, compute, AT_ONCE, progress, accelerator, rows)

        self._entries: list[Entry] = []  # marked as in use for as long as this object lives
        order, seen = examples.images.in_file_order(), np.zeros(len(examples.images), bool)
        seen[examples.image[wanted]] = True
        images = array_digest(examples.images.digest)
        self._images = cached("image-features", images, len(examples.images), of_images, order[seen[order]])
        if self._reads_prompts:
            used, texts = np.unique(examples.prompt[wanted]), texts_digest(examples.prompts)
            self._prompts = cached("prompt-features", texts, len(examples.prompts), of_prompts, used)

    def __call__(self, image: np.ndarray, prompt: np.ndarray) -> tuple[Tensor, Tensor]:
        """Features [..., D] and [..., E] of images and prompts by their numbers."""
        of_prompts = self._read(self._prompts, prompt) if self._reads_prompts else torch.zeros(*prompt.shape, 0)
        return self._read(self._images, image), of_prompts.to(self.device)

    def _read(self, cache: RowCache, rows: np.ndarray) -> Tensor:
        found = cache.read(rows.ravel())["features"]
        assert isinstance(found, Tensor)  # all features have one shape
        return found.view(*rows.shape, -1).to(self.device)


class ComputedFeatures:
    """Features of a backbone that is trained: each distinct image and prompt of a batch is computed once.

    Args:
        backbone: computes the features.
        examples: all examples.
        dtype: the dtype in which the backbone computes.
    """

    def __init__(self, backbone: Backbone, examples: RewardExamples, dtype: torch.dtype) -> None:
        self.backbone, self.examples, self.dtype = backbone, examples, dtype
        network: Any = backbone.network
        if dtype == torch.bfloat16 and next(network.parameters()).device.type == "cpu":
            network.set_attn_implementation("eager")  # on a CPU the fused backward pass is slower in bfloat16

    def __call__(self, image: np.ndarray, prompt: np.ndarray) -> tuple[Tensor, Tensor]:
        """Features [..., D] and [..., E] of images and prompts by their numbers."""
        images, where = np.unique(image, return_inverse=True)
        prompts, prompt_where = np.unique(prompt, return_inverse=True)
        backbone, examples, network = self.backbone, self.examples, self.backbone.network
        device = next(network.parameters()).device if network is not None else torch.device("cpu")
        inputs = backbone.preprocess([examples.images[row].open() for row in images]).to(device)
        with torch.autocast(device.type, self.dtype, enabled=self.dtype != torch.float32):
            of_images, of_prompts = (
                backbone.image_features(inputs),
                backbone.prompt_features([examples.prompts[row] for row in prompts]),
            )
        return of_images.float()[_places(where, image)], of_prompts.float()[_places(prompt_where, prompt)]


def _places(inverse: np.ndarray, like: np.ndarray) -> Tensor:
    return torch.from_numpy(inverse.reshape(like.shape))


def _finite(backbone: Backbone, what: str, features: Tensor) -> dict[str, Tensor]:
    """Features as values for a cache; raises NotFiniteError if one is NaN or infinite."""
    fix = "give another --backbone, or its weights in float32"
    require_finite(f"{backbone.name}'s features of {what}", features, fix=fix)
    return {"features": features}
