"""Latents and the prompts' conditioning: computed once for all runs on the same data, or computed at every step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from torch import Tensor

from palate.align.config import AlignConfig
from palate.align.encoders import PROMPTS_AT_ONCE, Encoders
from palate.align.examples import Examples
from palate.core.cache_folder import Entry, array_digest, digest, library_versions, require_space, texts_digest
from palate.core.progress import Bar, bar
from palate.models.buckets import Bucket, BucketGrid, ImageBuckets
from palate.models.conditioning import Conditioning, Ragged
from palate.models.families import sizes_of
from palate.models.source import ModelSource
from palate.training.row_cache import Compute, RowCache, fill_rows, open_rows

if TYPE_CHECKING:
    from accelerate import Accelerator

FIX = "give --latents streamed, another --cache, or --latents-dtype fp16"


class Latents(Protocol):
    """The latents of the distinct images of one bucket, computed or read when they are indexed.

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
        latents: the latents of the distinct images in each bucket that the run needs, by the bucket's number.
        buckets: the bucket of each view.
        conditioning: the conditioning of the distinct prompts; the first is that of no prompt.
        identity: a digest of both, for caches that depend on them.
    """

    latents: Mapping[int, Latents]
    buckets: ImageBuckets
    conditioning: Prompts
    identity: str


@dataclass(frozen=True)
class Needed:
    """The images and prompts that a run needs.

    Attributes:
        images: their numbers by the number of the bucket, in the order in which they are read fastest.
        prompts: their numbers [Q], in ascending order, including that of no prompt.
    """

    images: Mapping[int, np.ndarray]
    prompts: np.ndarray

    @classmethod
    def of(cls, examples: Examples, buckets: ImageBuckets, visited: np.ndarray) -> Needed:
        """The images and prompts of some of the examples, which are given by their numbers."""
        views = np.unique(examples.view[visited])
        order, images = examples.images.in_file_order(), {}
        for bucket in np.unique(buckets.view[views]).tolist():
            image = np.zeros(len(examples.images), bool)
            image[examples.image[views[buckets.view[views] == bucket]]] = True
            images[bucket] = order[image[order]]
        return cls(images, np.union1d([0], examples.prompt[views]))

    @property
    def crops(self) -> int:
        """The number of images; one of several buckets is counted in each."""
        return sum(map(len, self.images.values()))


def grid_of(config: AlignConfig, source: ModelSource) -> BucketGrid:
    """The sizes at which a run trains images.

    Raises:
        InputError: the model does not take a resolution.
    """
    sizes = sizes_of(source)
    return BucketGrid.of(sizes, config.resolutions(sizes.native), config.buckets)


def buckets_of(grid: BucketGrid, examples: Examples) -> ImageBuckets:
    """The bucket of each view of examples."""
    return ImageBuckets.of(grid, examples.images.size, examples.image, examples.key)


def identity_of(encoders: Encoders, examples: Examples, buckets: ImageBuckets) -> tuple[list[str], str]:
    """A digest of the latents of each bucket and one of the conditioning.

    Equal models, data and libraries have equal digests.
    """
    source, latents = encoders.source, []
    autoencoder, library = source.fingerprint("vae"), library_versions("diffusers")
    for size, images in zip(buckets.sizes, buckets.images):
        pixels = size.height if size.height == size.width else tuple(size)  # squares: as before
        which = array_digest(examples.images.digest[images])
        latents.append(digest("mode", autoencoder, pixels, str(encoders.latents_dtype), which, library))
    text = source.fingerprint(*source.readers()), str(encoders.dtype), texts_digest(examples.prompts)
    return latents, digest(*text, library_versions("diffusers", "transformers"))


def _whole_identity(pictures: list[str], texts: str, buckets: ImageBuckets) -> str:
    """A digest of all latents and the conditioning, and of which view has which of several buckets."""
    return digest(*pictures, texts, *([array_digest(buckets.view)] if len(pictures) > 1 else []))


def prepare_cached(
    encoders: Encoders,
    examples: Examples,
    buckets: ImageBuckets,
    needed: Needed,
    root: Path,
    about: Mapping[str, object],
    accelerator: Accelerator,
) -> Prepared:
    """Encodes the images and prompts that are needed and not in the cache.

    Args:
        encoders: they are loaded only if something is missing.
        examples: the training examples.
        buckets: the bucket of each view.
        needed: the images and prompts that the run needs.
        root: folder of the cache.
        about: the model and data, which `palate cache` lists.
        accelerator: the device and the processes.

    Raises:
        InputError: an image cannot be decoded; the message names it.
        PalateError: the disk is too small; raised before anything is written.
    """
    pictures, texts = identity_of(encoders, examples, buckets)

    def fill(bucket: int) -> _Filling:
        images, size, wanted = buckets.images[bucket], buckets.sizes[bucket], needed.images[bucket]

        def encode(rows: np.ndarray) -> dict[str, Tensor]:
            return {"latents": encoders.latents([examples.images[each] for each in images[rows].tolist()], size)}

        pixels = {"pixels": size.height if size.height == size.width else f"{size} pixels"}
        entry = Entry(root / f"latents-{pictures[bucket]}", {"kind": "latents", **about, **pixels})
        rows = np.searchsorted(images, wanted)
        return _Filling(entry, len(images), encode, rows, 4 * encoders.images_at_once(size), accelerator)

    def embed(rows: np.ndarray) -> Mapping[str, Tensor | Ragged]:
        return encoders.conditioning([examples.prompts[row] for row in rows.tolist()]).tensors

    latents = {bucket: fill(bucket) for bucket in needed.images}
    entry = Entry(root / f"prompts-{texts}", {"kind": "prompts", **about})
    prompts = _Filling(entry, len(examples.prompts), embed, needed.prompts, 4 * PROMPTS_AT_ONCE, accelerator)
    what = f"the latents of {needed.crops} images and the embeddings of {len(needed.prompts)} prompts"
    require_space(root, sum(each.needs() for each in (*latents.values(), prompts)), what, FIX)
    with bar("encode images", needed.crops) as progress:
        found = {
            bucket: CachedLatents(each.fill(progress), each.entry, buckets.images[bucket])
            for bucket, each in latents.items()
        }
    with bar("encode prompts", len(needed.prompts)) as progress:
        conditioning = CachedPrompts(prompts.fill(progress), prompts.entry)
    return Prepared(found, buckets, conditioning, _whole_identity(pictures, texts, buckets))


def prepare_streamed(encoders: Encoders, examples: Examples, buckets: ImageBuckets, needed: Needed) -> Prepared:
    """Encodes images and prompts whenever they are needed; the encoders stay in memory, and nothing is cached."""
    latents = {
        bucket: StreamedLatents(encoders, examples, buckets.sizes[bucket], int(images[0]))
        for bucket, images in needed.images.items()
    }
    identity = _whole_identity(*identity_of(encoders, examples, buckets), buckets)
    return Prepared(latents, buckets, StreamedPrompts(encoders, examples), identity)


class _Filling:
    """A cache of N rows that is opened and then filled with the wanted ones; see `training.row_cache`."""

    def __init__(
        self, entry: Entry, rows: int, compute: Compute, wanted: np.ndarray, at_once: int, accelerator: Accelerator
    ) -> None:
        self.entry, self._compute, self._wanted = entry, compute, wanted
        self._at_once, self._accelerator = at_once, accelerator
        self._cache = open_rows(entry.folder / "rows.safetensors", rows, compute, wanted[:at_once], accelerator)

    def needs(self) -> int:
        return self._cache.needs(self._wanted)

    def fill(self, progress: Bar) -> RowCache:
        return fill_rows(self._cache, self._compute, self._at_once, progress, self._accelerator, self._wanted)


class CachedLatents:
    """Latents read from a cache, whose rows are the given images in ascending order; see `Latents`."""

    def __init__(self, cache: RowCache, entry: Entry, images: np.ndarray) -> None:
        self._cache, self._entry, self._images = cache, entry, images
        self.shape: tuple[int, ...] = cache.dense["latents"].shape

    def __getitem__(self, rows: np.ndarray) -> Tensor:
        found = self._cache.read(np.searchsorted(self._images, rows))["latents"]
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

    def __init__(self, encoders: Encoders, examples: Examples, size: Bucket, one: int) -> None:
        self._encoders, self._examples, self._size = encoders, examples, size
        self.shape: tuple[int, ...] = tuple(self[np.array([one])].shape[1:])

    def __getitem__(self, rows: np.ndarray) -> Tensor:
        distinct, where = np.unique(rows, return_inverse=True)
        images = [self._examples.images[row] for row in distinct.tolist()]
        return self._encoders.latents(images, self._size).float()[torch.from_numpy(where)]


class StreamedPrompts:
    """The conditioning of prompts, computed when it is needed; see `Prompts`."""

    def __init__(self, encoders: Encoders, examples: Examples) -> None:
        self._encoders, self._examples = encoders, examples

    def __getitem__(self, rows: np.ndarray) -> Conditioning:
        distinct, where = np.unique(rows, return_inverse=True)
        found = self._encoders.conditioning([self._examples.prompts[row] for row in distinct.tolist()])
        return found[torch.from_numpy(where)]
