"""Latents and prompt embeddings, computed once for all runs on the same images and prompts."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from palate.align.examples import Examples
from palate.core.progress import bar
from palate.models.denoiser import Conditioning, Denoiser
from palate.models.load import load_denoiser, quiet_libraries
from palate.models.source import ModelSource
from palate.score.base import to_squares
from palate.training.cache import cached_rows, digest

if TYPE_CHECKING:
    from accelerate import Accelerator

PIXELS_AT_ONCE = 2**20  # four pictures of 512 x 512: an autoencoder's activations are large
PROMPTS_AT_ONCE = 64


@dataclass(frozen=True)
class Prepared:
    """What training reads instead of images and prompts.

    Attributes:
        latents: of the distinct images [I, C, h, w], float32, mapped from disk.
        conditioning: of the distinct prompts, mapped from disk.
        identity: names both, for caches that depend on them.
    """

    latents: Tensor
    conditioning: Conditioning
    identity: str


def prepare(
    source: ModelSource,
    examples: Examples,
    resolution: int,
    root: Path,
    accelerator: Accelerator,
    dtype: torch.dtype = torch.float32,
) -> Prepared:
    """Encodes the images and prompts that the cache lacks; the encoders are loaded only for those, and freed.

    Args:
        source: the model.
        examples: what is trained on.
        resolution: pixels a side.
        root: folder of the cache.
        accelerator: the device and the processes.
        dtype: of the cached embeddings: the one that the network will read them in.

    Raises:
        InputError: an image cannot be decoded; names it.
    """
    encoders = _Encoders(source, accelerator.device)
    readers = [part for part in source.parts() if part.startswith(("text_encoder", "tokenizer"))]
    pictures = digest("mode", source.fingerprint("vae"), resolution, [image.digest() for image in examples.images])
    texts = digest(source.fingerprint(*readers), str(dtype), examples.prompts)

    def encode(rows: Tensor) -> dict[str, Tensor]:
        images = [examples.images[row].open() for row in rows.tolist()]
        return {"latents": encoders.denoiser.encode(to_squares(images, resolution))}

    def embed(rows: Tensor) -> dict[str, Tensor]:
        with quiet_libraries():  # they print every prompt that is longer than the text encoder reads
            told = encoders.denoiser.encode_prompt([examples.prompts[row] for row in rows.tolist()])
        return told.to(dtype=dtype).tensors()

    at_once = max(1, PIXELS_AT_ONCE // resolution**2)
    count = len(examples.images), len(examples.prompts)
    with bar("encode images", count[0]) as progress:
        path = root / f"latents-{pictures}.safetensors"
        latents = cached_rows(path, count[0], encode, at_once, progress, accelerator)
    with bar("encode prompts", count[1]) as progress:
        path = root / f"prompts-{texts}.safetensors"
        told = cached_rows(path, count[1], embed, PROMPTS_AT_ONCE, progress, accelerator)
    return Prepared(latents["latents"], Conditioning(**told.tensors()), digest(pictures, texts))


@dataclass(frozen=True)
class _Encoders:
    """The model without its network, loaded when first asked."""

    source: ModelSource
    device: torch.device

    @cached_property
    def denoiser(self) -> Denoiser:
        return load_denoiser(self.source, device=self.device, without=(self.source.network,))
