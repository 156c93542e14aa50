"""Latents and prompt embeddings, computed once for all runs on the same images and prompts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from palate.align.examples import Examples
from palate.core.progress import bar
from palate.models.conditioning import Conditioning
from palate.models.denoiser import Denoiser
from palate.models.frames import Frames
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
        conditioning: of the distinct prompts, mapped from disk; the first is that of no prompt.
        frames: how each distinct image was cut out of its original [I].
        identity: names both, for caches that depend on them.
    """

    latents: Tensor
    conditioning: Conditioning
    frames: Frames
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
    pictures = digest(
        "mode, frame", source.fingerprint("vae"), resolution, [image.digest() for image in examples.images]
    )
    texts = digest(source.fingerprint(*source.readers()), str(dtype), examples.prompts)

    def encode(rows: Tensor) -> dict[str, Tensor]:
        images = [examples.images[row].open() for row in rows.tolist()]
        frames = Frames.squares([image.size for image in images], resolution)
        return {"latents": encoders.denoiser.encode(to_squares(images, resolution)), "frames": frames.rows}

    def embed(rows: Tensor) -> Mapping[str, Any]:
        with quiet_libraries():  # they print every prompt that is longer than the text encoder reads
            found = encoders.denoiser.encode_prompt([examples.prompts[row] or None for row in rows.tolist()])
        return found.to(dtype=dtype).tensors

    at_once = max(1, PIXELS_AT_ONCE // resolution**2)
    count = len(examples.images), len(examples.prompts)
    with bar("encode images", count[0]) as progress:
        path = root / f"latents-{pictures}.safetensors"
        latents = cached_rows(path, count[0], encode, at_once, progress, accelerator)
    with bar("encode prompts", count[1]) as progress:
        path = root / f"prompts-{texts}.safetensors"
        embedded = cached_rows(path, count[1], embed, PROMPTS_AT_ONCE, progress, accelerator)
    conditioning = Conditioning(embedded.tensors())
    return Prepared(latents["latents"], conditioning, Frames(latents["frames"]), digest(pictures, texts))


@dataclass(frozen=True)
class _Encoders:
    """The model without its network, loaded when first asked."""

    source: ModelSource
    device: torch.device

    @cached_property
    def denoiser(self) -> Denoiser:
        return load_denoiser(self.source, device=self.device, without=(self.source.network,))
