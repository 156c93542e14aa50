"""Samples images from a model; each image depends only on its prompt and its seed."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from palate.core.device import pick_device
from palate.core.errors import InputError
from palate.core.finite import NotFiniteError, all_finite, find_not_finite
from palate.generate.negative_model import guide_by, require_negative
from palate.models.conditioning import Conditioning
from palate.models.families import find_adapter, load_adapter, sizes_of
from palate.models.load import load_pipeline, resolve
from palate.models.source import UNUSED
from palate.records.image_folder import BLACK, SAFETY_CHECKER

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor, nn

    from palate.models.denoiser import Denoiser
    from palate.models.source import ModelSource

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
SEEDS = 2**32
"""The number of different seeds of torch's CPU generator, which uses only the low 32 bits."""
_CACHED_PROMPTS = 64
GUIDANCE = "guidance_scale"
"""The scale of guidance among the arguments of a pipeline without an adapter."""


@dataclass(frozen=True)
class Sampled:
    """One image that a pipeline returned.

    Args:
        image: the image.
        blocked: why it is not the model's own image, `SAFETY_CHECKER` or `BLACK`; "" if it is.
    """

    image: Image.Image
    blocked: str = ""


class Sampler:
    """Samples a model through its own diffusers pipeline.

    Each image has its own seeded CPU generator and each prompt is encoded alone, so an image does not depend on its
    batch (up to float rounding), and `pipeline(prompt, generator=torch.Generator().manual_seed(seed))` makes the same
    image in plain diffusers. A model of a family without an adapter encodes its prompts batch by batch.

    Args:
        model: see `models.source.resolve`.
        device: the best one of the machine when left out.
        dtype: `float32`, `bfloat16` or `float16`; bfloat16 on a GPU and float32 on a CPU when left out.
        steps: number of denoising steps; when left out, the default of the model (`palate.json` beside its index) or
            else of its pipeline.
        guidance: guidance scale, with the same defaults.
        height: in pixels; the pipeline's default when left out.
        width: in pixels; the pipeline's default when left out.
        negative_model: a model of the same family whose network computes the predictions for the negative prompt; see
            `models.negative`.

    Raises:
        InputError: there is no such model, a part of it is missing, or it does not take the size (raised before any
            weights are read); weights are not finite; or the negative model cannot be used, see `negative_model`.
    """

    def __init__(
        self,
        model: str | Path,
        *,
        device: str | None = None,
        dtype: str | None = None,
        steps: int | None = None,
        guidance: float | None = None,
        height: int | None = None,
        width: int | None = None,
        negative_model: str | Path | None = None,
    ) -> None:
        source = resolve(model)
        adapter: Any = find_adapter(source)
        if negative_model:
            require_negative(source, resolve(negative_model))
        if adapter and not adapter.draws_from_prompt:
            raise InputError(f"{model} ({adapter.title}) changes another model's images and draws none from a prompt")
        device = pick_device(device)
        self.dtype = dtype or ("float32" if device == "cpu" else "bfloat16")
        if self.dtype not in DTYPES:
            raise InputError(f"unknown dtype {dtype!r}; choose from {', '.join(DTYPES)}")
        if height or width:
            sizes = sizes_of(source)
            sizes.require(height or sizes.native, width or sizes.native)
        self._size = {name: side for name, side in (("height", height), ("width", width)) if side}
        pipeline = load_pipeline(source, device=device, dtype=DTYPES[self.dtype])
        self._take(pipeline, adapter(pipeline) if adapter else None, source.card, steps, guidance)
        if negative_model and self._denoiser:
            guide_by(self._denoiser, resolve(negative_model), self.guidance, device, DTYPES[self.dtype])
        self._encode = lru_cache(_CACHED_PROMPTS)(self._encode_one)
        self._autocast: Callable[[], AbstractContextManager[Any]] = nullcontext

    @classmethod
    def of_network(
        cls,
        source: ModelSource,
        network: nn.Module,
        encoded: Mapping[str | None, Conditioning],
        size: tuple[int, int],
        dtype: torch.dtype,
        steps: int | None = None,
        guidance: float | None = None,
    ) -> Sampler:
        """A sampler of a network that is being trained; it needs no text encoder.

        Args:
            source: the model that the network belongs to.
            network: the network; it is sampled with its present weights.
            encoded: the conditioning [1] of each prompt that will be drawn, and of None, which means no prompt.
            size: width and height in pixels.
            dtype: the dtype in which the network computes; its weights may have a wider one.
            steps, guidance: see `Sampler`.

        Raises:
            InputError: a part of the model is missing.
        """
        self = cls.__new__(cls)
        device, self.dtype = next(network.parameters()).device, str(dtype).removeprefix("torch.")
        without = [*source.readers(), *UNUSED]
        pipeline = load_pipeline(source, device=device, dtype=dtype, without=without, **{source.network: network})
        self._autocast = partial(torch.autocast, device.type, dtype, enabled=dtype != torch.float32)
        self._size = dict(zip(("width", "height"), size))
        adapter: Any = load_adapter(source.family)
        self._take(pipeline, adapter(pipeline), source.card, steps, guidance)
        self._encode = lambda prompt: encoded[prompt].to(device)
        return self

    def _take(
        self,
        pipeline: Any,
        denoiser: Denoiser | None,
        card: Mapping[str, Any],
        steps: int | None,
        guidance: float | None,
    ) -> None:
        """Takes over a pipeline, and the model's own number of steps and guidance where none is given."""
        self.pipeline, self._denoiser = pipeline, denoiser
        self.pipeline.set_progress_bar_config(disable=True)
        defaults = inspect.signature(self.pipeline.__call__).parameters
        scale = self._denoiser.default_guidance() if self._denoiser else defaults[GUIDANCE].default
        own = {"steps": defaults["num_inference_steps"].default, "guidance": scale, **card}
        self._own_steps: int = own["steps"]
        self.steps: int = self._own_steps if steps is None else steps
        self.guidance: float = own["guidance"] if guidance is None else guidance

    def with_steps(self, steps: int | None) -> Sampler:
        """A sampler of the same loaded model with another number of steps; None for the model's own."""
        other = copy.copy(self)
        other.steps = self._own_steps if steps is None else steps
        return other

    def sample(self, prompts: Sequence[str], seeds: Sequence[int]) -> list[Image.Image]:
        """One image for each prompt and seed, as one batch; raises an error where `draw` would return a blocked image.

        Raises:
            InputError: see `draw`; also if an image is blocked, with the reason.
            NotFiniteError: see `draw`.
        """
        drawn = self.draw(prompts, seeds)
        for prompt, each in zip(prompts, drawn):
            if each.blocked:
                raise InputError(f"the image of {prompt!r} is not the model's ({each.blocked}); try another prompt")
        return [each.image for each in drawn]

    @torch.no_grad()
    def draw(self, prompts: Sequence[str], seeds: Sequence[int]) -> list[Sampled]:
        """One image for each prompt and seed, as one batch; an image may be blocked, see `Sampled`.

        Raises:
            InputError: a seed has more bits than the generator uses.
            NotFiniteError: latents or images overflowed; the message says where, and what to do.
        """
        if wrong := [seed for seed in seeds if not 0 <= seed < SEEDS]:
            raise InputError(
                f"a seed must be a whole number from 0 to {SEEDS - 1}, as torch uses only 32 bits, not {wrong[0]}"
            )
        drawn: dict[int, Sampled] = {}
        for rows in self._batches(prompts):
            drawn |= zip(rows, self._draw([prompts[row] for row in rows], [seeds[row] for row in rows]), strict=True)
        return [drawn[row] for row in range(len(prompts))]

    def _draw(self, prompts: Sequence[str], seeds: Sequence[int]) -> list[Sampled]:
        """The images of one call of the pipeline."""
        # NaN is checked below.
        with _decoder_watched(self.pipeline) as decoded, np.errstate(invalid="ignore"), self._autocast():
            found = self.pipeline(
                **self._inputs(prompts),
                **self._size,
                generator=[torch.Generator().manual_seed(seed) for seed in seeds],
                num_inference_steps=self.steps,
                **(self._denoiser.guide(self.guidance) if self._denoiser else {GUIDANCE: self.guidance}),
                output_type="pt",
            )
        self._require_finite(found.images, decoded, prompts, seeds)
        processor = self.pipeline.image_processor
        images = processor.numpy_to_pil(processor.pt_to_numpy(found.images))
        flags = getattr(found, "nsfw_content_detected", None) or [False] * len(images)
        return [Sampled(image, _why_blocked(image, flag)) for image, flag in zip(images, flags, strict=True)]

    def _batches(self, prompts: Sequence[str]) -> list[list[int]]:
        """The places of the prompts of each call: one for all, or one for each group that the family has to draw."""
        if self._denoiser is None:
            return [list(range(len(prompts)))]
        batches: dict[int, list[int]] = {}
        for place, prompt in enumerate(prompts):
            batches.setdefault(self._denoiser.batch_group(self._encode(prompt)), []).append(place)
        return list(batches.values())

    def _inputs(self, prompts: Sequence[str]) -> Mapping[str, Any]:
        """The pipeline's arguments for the prompts of a batch."""
        if self._denoiser is None:
            return {"prompt": list(prompts)}
        positive = Conditioning.cat([self._encode(prompt) for prompt in prompts])
        guided = self._denoiser.negates(self.guidance)
        negative = Conditioning.cat([self._encode(None)] * len(prompts)) if guided else None
        return self._denoiser.pipeline_inputs(positive, negative)

    def _encode_one(self, prompt: str | None) -> Conditioning:
        assert self._denoiser
        return self._denoiser.encode_prompt([prompt])

    def _require_finite(
        self, images: Tensor, decoded: Sequence[tuple[bool, bool]], prompts: Sequence[str], seeds: Sequence[int]
    ) -> None:
        """Raises NotFiniteError if an image or its latents are not finite, which the pipeline may hide by clamping."""
        wrong = next((row for row, image in enumerate(images) if not all_finite(image)), None)
        latents, pictures = (all(each) for each in zip(*decoded)) if decoded else (True, True)
        if wrong is None and latents and pictures:
            return
        where = f"the image of {prompts[wrong or 0]!r}, seed {seeds[wrong or 0]}"
        if not latents:
            what = f"the latents of {where} are not finite: the network overflowed in {self.dtype}, or it diverged"
            raise NotFiniteError(f"{what}; give --dtype float32, and if that does not help, another model")
        numbers = f" ({find_not_finite(images[wrong])})" if wrong is not None else ""
        what = f"{where} is not finite{numbers} though its latents are: the autoencoder overflowed in {self.dtype}"
        raise NotFiniteError(f"{what}; give --dtype bfloat16 or float32")


@contextmanager
def _decoder_watched(pipeline: Any) -> Iterator[list[tuple[bool, bool]]]:
    """Yields a list to which each call of the autoencoder's decoder adds whether its latents and image were finite.

    The pipeline clamps images to [0, 1], so an infinity is not visible in the finished image.
    """
    seen: list[tuple[bool, bool]] = []

    def look(module: Any, inputs: tuple[Any, ...], output: Any) -> None:
        seen.append((all_finite(inputs[0]), all_finite(getattr(output, "sample", output))))

    decoder = getattr(getattr(pipeline, "vae", None), "decoder", None)
    handle = decoder.register_forward_hook(look) if isinstance(decoder, torch.nn.Module) else None
    try:
        yield seen
    finally:
        if handle:
            handle.remove()


def _why_blocked(image: Image.Image, flagged: bool) -> str:
    if flagged:
        return SAFETY_CHECKER
    return BLACK if not any(high for _, high in image.convert("RGB").getextrema()) else ""  # type: ignore[misc]
