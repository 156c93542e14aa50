"""Latents and the prompts' conditioning: computed once for all runs on the same data, or computed at every step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from torch import Tensor

from palate.align.encoders import PROMPTS_AT_ONCE, Encoders
from palate.align.examples import Examples
from palate.core.cache_folder import Entry, array_digest, digest, library_versions, require_space, texts_digest
from palate.core.progress import bar
from palate.models.conditioning import Conditioning, Ragged
from palate.training.row_cache import RowCache, fill_rows, open_rows

if TYPE_CHECKING:
    from accelerate import Accelerator

FIX = "give --latents streamed, another --cache, or --latents-dtype fp16"


class Latents(Protocol):
    """The latents of the distinct images, computed or read when they are indexed.

    Attributes:
        shape: the shape of one latent, (C, h, w).
    """

    shape: tuple[int, ...]

    def __getitem__(self, rows: np.ndarray) -> Tensor:
        """The latents [R, C, h, w] of images [R] by their numbers, in float32 on the CPU."""
        ...


class Prompts(Protocol):
    """The conditioning of the distinct prompts, computed or read when it is indexed."""

    def __getitem__(self, rows: np.ndarray) -> Conditioning:
        """The conditioning of prompts [R] by their numbers, on the CPU."""
        ...


@dataclass(frozen=True)
class Prepared:
    """What training reads instead of images and prompts.

    Attributes:
        latents: the latents of the distinct images.
        conditioning: the conditioning of the distinct prompts; the first is that of no prompt.
        identity: a digest of both, for caches that depend on them.
    """

    latents: Latents
    conditioning: Prompts
    identity: str


@dataclass(frozen=True)
class Needed:
    """The images and prompts that a run needs.

    Attributes:
        images: their numbers [J], in the order in which they are read fastest.
        prompts: their numbers [Q], in ascending order, including that of no prompt.
    """

    images: np.ndarray
    prompts: np.ndarray

    @classmethod
    def of(cls, examples: Examples, visited: np.ndarray) -> Needed:
        """The images and prompts of some of the examples, which are given by their numbers."""
        views = np.unique(examples.view[visited])
        image = np.zeros(len(examples.images), bool)
        image[examples.image[views]] = True
        order = examples.images.in_file_order()
        prompts = np.union1d([0], examples.prompt[views])
        return cls(order[image[order]], prompts)


def identity_of(encoders: Encoders, examples: Examples) -> tuple[str, str]:
    """A digest of the latents and one of the conditioning; equal models, data and libraries have equal digests."""
    source = encoders.source
    picture = source.fingerprint("vae"), encoders.resolution, str(encoders.latents_dtype)
    latents = digest("mode", *picture, array_digest(examples.images.digest), library_versions("diffusers"))
    text = source.fingerprint(*source.readers()), str(encoders.dtype), texts_digest(examples.prompts)
    return latents, digest(*text, library_versions("diffusers", "transformers"))


def prepare_cached(
    encoders: Encoders,
    examples: Examples,
    needed: Needed,
    root: Path,
    about: Mapping[str, object],
    accelerator: Accelerator,
) -> Prepared:
    """Encodes the images and prompts that are needed and not in the cache.

    Args:
        encoders: they are loaded only if something is missing.
        examples: the training examples.
        needed: the images and prompts that the run needs.
        root: folder of the cache.
        about: the model and data, which `palate cache` lists.
        accelerator: the device and the processes.

    Raises:
        InputError: an image cannot be decoded; the message names it.
        PalateError: the disk is too small; raised before anything is written.
    """
    pictures, texts = identity_of(encoders, examples)

    def encode(rows: np.ndarray) -> dict[str, Tensor]:
        return {"latents": encoders.latents([examples.images[row] for row in rows.tolist()])}

    def embed(rows: np.ndarray) -> Mapping[str, Tensor | Ragged]:
        return encoders.conditioning([examples.prompts[row] for row in rows.tolist()]).tensors

    kinds = (
        ("latents", pictures, len(examples.images), encode, needed.images, 4 * encoders.images_at_once),
        ("prompts", texts, len(examples.prompts), embed, needed.prompts, 4 * PROMPTS_AT_ONCE),
    )
    entries, caches = [], []
    for kind, name, count, compute, wanted, at_once in kinds:
        entries.append(Entry(root / f"{kind}-{name}", {"kind": kind, **about}))
        caches.append(open_rows(entries[-1].folder / "rows.safetensors", count, compute, wanted[:at_once], accelerator))
    sizes = [cache.needs(wanted) for cache, (_, _, _, _, wanted, _) in zip(caches, kinds)]
    what = f"the latents of {len(needed.images)} images and the embeddings of {len(needed.prompts)} prompts"
    require_space(root, sum(sizes), what, FIX)
    for place, (kind, _, _, compute, wanted, at_once) in enumerate(kinds):
        with bar(f"encode {'images' if kind == 'latents' else kind}", len(wanted)) as progress:
            caches[place] = fill_rows(caches[place], compute, at_once, progress, accelerator, wanted)
    return Prepared(CachedLatents(caches[0], entries[0]), CachedPrompts(caches[1], entries[1]), digest(pictures, texts))


def prepare_streamed(encoders: Encoders, examples: Examples, needed: Needed) -> Prepared:
    """Encodes images and prompts whenever they are needed; the encoders stay in memory, and nothing is cached."""
    latents = StreamedLatents(encoders, examples, int(needed.images[0]))
    return Prepared(latents, StreamedPrompts(encoders, examples), digest(*identity_of(encoders, examples)))


class CachedLatents:
    """Latents read from a cache; see `Latents`."""

    def __init__(self, cache: RowCache, entry: Entry) -> None:
        self._cache, self._entry = cache, entry
        self.shape: tuple[int, ...] = cache.dense["latents"].shape

    def __getitem__(self, rows: np.ndarray) -> Tensor:
        found = self._cache.read(rows)["latents"]
        assert isinstance(found, Tensor)  # all latents have one shape
        return found.float()


class CachedPrompts:
    """The conditioning of prompts read from a cache; see `Prompts`."""

    def __init__(self, cache: RowCache, entry: Entry) -> None:
        self._cache, self._entry = cache, entry

    def __getitem__(self, rows: np.ndarray) -> Conditioning:
        distinct, where = np.unique(rows, return_inverse=True)
        return Conditioning(self._cache.read(distinct))[torch.from_numpy(where)]


class StreamedLatents:
    """Latents that are computed when they are needed; see `Latents`."""

    def __init__(self, encoders: Encoders, examples: Examples, one: int) -> None:
        self._encoders, self._examples = encoders, examples
        self.shape: tuple[int, ...] = tuple(self[np.array([one])].shape[1:])

    def __getitem__(self, rows: np.ndarray) -> Tensor:
        distinct, where = np.unique(rows, return_inverse=True)
        return self._encoders.latents([self._examples.images[row] for row in distinct.tolist()]).float()[
            torch.from_numpy(where)
        ]


class StreamedPrompts:
    """The conditioning of prompts, computed when it is needed; see `Prompts`."""

    def __init__(self, encoders: Encoders, examples: Examples) -> None:
        self._encoders, self._examples = encoders, examples

    def __getitem__(self, rows: np.ndarray) -> Conditioning:
        distinct, where = np.unique(rows, return_inverse=True)
        found = self._encoders.conditioning([self._examples.prompts[row] for row in distinct.tolist()])
        return found[torch.from_numpy(where)]
