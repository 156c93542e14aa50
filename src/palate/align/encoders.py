"""A model's encoders: images to latents and prompts to conditioning, independently of what else is in the batch."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from palate.core.finite import all_finite, require_finite
from palate.core.values import shown
from palate.models.buckets import Bucket
from palate.models.conditioning import Conditioning, Ragged
from palate.models.denoiser import Denoiser
from palate.models.load import load_denoiser
from palate.models.quiet import quiet_libraries
from palate.models.source import ModelSource
from palate.records.images import StoredImage
from palate.score.base import to_size

PIXELS_AT_ONCE, IMAGES_AT_ONCE = 2**20, 16  # four pictures of 512 x 512: an autoencoder's activations are large
PROMPTS_AT_ONCE = 16


@dataclass(frozen=True)
class Encoders:
    """The model without its denoising network, loaded when it is first needed.

    A CPU may round differently in batches of different sizes. So all batches here have one size, and the last one is
    filled up with copies: a latent and a prompt's conditioning do not depend on the other rows of their batch.

    Args:
        source: the model.
        device: where the encoders run.
        latents_dtype: the dtype in which latents are kept.
        dtype: the dtype of the prompts' conditioning, which is the one that the network computes in.
    """

    source: ModelSource
    device: torch.device
    latents_dtype: torch.dtype = torch.float32
    dtype: torch.dtype = torch.float32

    @cached_property
    def denoiser(self) -> Denoiser:
        """The loaded encoders."""
        return load_denoiser(self.source, device=self.device, without=(self.source.network,))

    def images_at_once(self, size: Bucket) -> int:
        """How many images of a size are encoded in one batch."""
        return min(max(1, PIXELS_AT_ONCE // (size.height * size.width)), IMAGES_AT_ONCE)

    def latents(self, images: Sequence[StoredImage], size: Bucket) -> Tensor:
        """Latents [B, C, h, w] of images, cropped and resized to a size, on the CPU, contiguous as a cache gives them.

        An autoencoder may give them in another memory format, in which a network's convolutions round differently.

        Raises:
            InputError: an image cannot be read or decoded; names it.
            NotFiniteError: latents overflow; the message names the image.
        """
        with ThreadPoolExecutor(min(len(images), os.cpu_count() or 1)) as pool:
            opened = list(pool.map(StoredImage.open, images))
        at_once = self.images_at_once(size)
        parts = []
        for start in range(0, len(opened), at_once):
            chunk = opened[start : start + at_once]
            filled = chunk + chunk[-1:] * (at_once - len(chunk))
            parts.append(self.denoiser.encode(to_size(filled, *size))[: len(chunk)])
        latents = torch.cat(parts)
        found = latents.to("cpu", self.latents_dtype).contiguous()
        if not all_finite(found):
            row = next(row for row, each in enumerate(found) if not all_finite(each))
            narrow = "give --latents-dtype fp32 or bf16, as the kept numbers are too large for fp16"
            other = "leave the image out, or give a model with another autoencoder, as this one overflows"
            fix = narrow if all_finite(latents[row]) else other
            require_finite(f"the latents of {images[row]}", found[row], fix=fix)
        return found

    def conditioning(self, prompts: Sequence[str]) -> Conditioning:
        """The conditioning [B] of prompts, on the CPU; an empty prompt is encoded as no prompt.

        Raises:
            NotFiniteError: an embedding overflows; the message names the prompt.
        """
        parts = []
        for start in range(0, len(prompts), PROMPTS_AT_ONCE):
            chunk = [prompt or None for prompt in prompts[start : start + PROMPTS_AT_ONCE]]
            filled = chunk + chunk[-1:] * (PROMPTS_AT_ONCE - len(chunk))
            with quiet_libraries():  # they print every prompt that is longer than the text encoder reads
                parts.append(self.denoiser.encode_prompt(filled)[: len(chunk)])
        found = Conditioning.cat(parts).to("cpu", self.dtype)
        if not all_finite(_numbers(found)):
            row = next(row for row in range(len(prompts)) if not all_finite(_numbers(found[row : row + 1])))
            fix = (
                "leave the prompt out, or give --precision fp32 or bf16 or another model, as its text encoder overflows"
            )
            require_finite(f"the embeddings of {shown(prompts[row])}", _numbers(found[row : row + 1]), fix=fix)
        return found


def _numbers(conditioning: Conditioning) -> dict[str, Tensor]:
    return {name: each.values if isinstance(each, Ragged) else each for name, each in conditioning.tensors.items()}
