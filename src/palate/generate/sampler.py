"""One model's images, each a function of its prompt and its seed alone."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from palate.core.device import pick_device
from palate.core.errors import InputError
from palate.models.load import load_pipeline, resolve

if TYPE_CHECKING:
    from PIL import Image

EMBEDDINGS = ("prompt_embeds", "negative_prompt_embeds", "pooled_prompt_embeds", "negative_pooled_prompt_embeds")
"""What the `encode_prompt` of Stable Diffusion (two), SDXL and SD3 (four) return, in their order."""
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
_CACHED_PROMPTS = 64


class Sampler:
    """Samples a model through its own diffusers pipeline.

    Each image has its own seeded CPU generator and each prompt is encoded alone, so an image does not depend on its
    batch (up to float rounding), and `pipeline(prompt, generator=torch.Generator().manual_seed(seed))` makes it again
    in plain diffusers.

    Args:
        model: as `models.load.resolve` takes it.
        device: the best one of the machine when left out.
        dtype: `float32`, `bfloat16` or `float16`; bfloat16 on a GPU and float32 on a CPU when left out.
        steps: the model's own (`palate.json` beside its index), else its pipeline's default, when left out.
        guidance: the same.

    Raises:
        InputError: no such model, or a part of it is missing; before any weights are read.
    """

    def __init__(
        self,
        model: str | Path,
        *,
        device: str | None = None,
        dtype: str | None = None,
        steps: int | None = None,
        guidance: float | None = None,
    ) -> None:
        source = resolve(model)
        device = pick_device(device)
        dtype = dtype or ("float32" if device == "cpu" else "bfloat16")
        if dtype not in DTYPES:
            raise InputError(f"unknown dtype {dtype!r}; choose from {', '.join(DTYPES)}")
        self.pipeline = load_pipeline(source, device=device, dtype=DTYPES[dtype])
        self.pipeline.set_progress_bar_config(disable=True)
        defaults = inspect.signature(self.pipeline.__call__).parameters
        card = {"steps": defaults["num_inference_steps"].default, "guidance": defaults["guidance_scale"].default}
        card |= source.card
        self.steps: int = card["steps"] if steps is None else steps
        self.guidance: float = card["guidance"] if guidance is None else guidance
        self._embed = lru_cache(_CACHED_PROMPTS)(self._encode)

    @torch.no_grad()
    def sample(self, prompts: Sequence[str], seeds: Sequence[int]) -> list[Image.Image]:
        """One image of each prompt and seed, as one batch."""
        encoded = [self._embed(prompt) for prompt in prompts]
        batch = {name: torch.cat([each[name] for each in encoded]) for name in encoded[0]}
        return self.pipeline(
            **batch,
            generator=[torch.Generator().manual_seed(seed) for seed in seeds],
            num_inference_steps=self.steps,
            guidance_scale=self.guidance,
        ).images

    def _encode(self, prompt: str) -> dict[str, torch.Tensor]:
        """The pipeline's embeddings of one prompt and of the empty one, [1, ...] by the name of its argument."""
        wanted: dict[str, Any] = {
            "prompt": [prompt],
            "prompt_2": None,
            "prompt_3": None,
            "device": self.pipeline.device,
            "num_images_per_prompt": 1,
            "do_classifier_free_guidance": self.guidance > 1,
        }
        taken = inspect.signature(self.pipeline.encode_prompt).parameters
        embeddings = self.pipeline.encode_prompt(**{name: value for name, value in wanted.items() if name in taken})
        return {name: value for name, value in zip(EMBEDDINGS, embeddings) if value is not None}
