"""What a scorer is, and images as the tensors that scorers read."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol, TypeAlias, Union

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps

from palate.core.errors import InputError
from palate.core.finite import require_finite
from palate.models.prompt_length import cut_off, note_cut_off
from palate.records.decode import rgb

if TYPE_CHECKING:
    from torch import Tensor

Images: TypeAlias = Union[Sequence[Image.Image], "Tensor"]
"""B RGB images, or a float tensor [B, 3, H, W] in [0, 1]."""


class Scorer(Protocol):
    """One number an image, given its prompt.

    Attributes:
        name: the spec that loads it, such as `clip:<model>`; names its column in a table of scores.
        higher_is_better: whether a higher score is the better one.
        differentiable: whether the scores of a tensor of images have a gradient with respect to it.
        reads_prompt: whether a score depends on the prompt; images without one can be scored where it does not.
    """

    name: str
    higher_is_better: bool
    differentiable: bool
    reads_prompt: bool

    def __call__(self, images: Images, prompts: Sequence[str]) -> Tensor:
        """Scores [B] in float32, on the CPU, of B images and the B prompts they were made from."""
        ...

    def fingerprint(self) -> str:
        """A digest of what the scores depend on beside images and prompts, such as weights; the same on any device."""
        ...


@torch.no_grad()
def score_images(scorer: Scorer, images: Images, prompts: Sequence[str]) -> list[float]:
    """The scores [B] of B images, as plain numbers without a gradient.

    Raises:
        InputError: the scorer does not give one number an image.
    """
    scores = scorer(images, prompts)
    if scores.shape != (len(prompts),):
        raise InputError(
            f"{scorer.name} gives scores of shape {list(scores.shape)} for {len(prompts)} images; it must give one each"
        )
    return scores.tolist()


def try_scorer(scorer: Scorer, size: tuple[int, int], prompt: str) -> None:
    """Raises what a scorer raises of an empty picture of a size, so that one which cannot read a model's says so early.

    Args:
        size: width and height in pixels.
    """
    score_images(scorer, [Image.new("RGB", size)], [prompt])


def require_score(scorer: str, score: float, image: object) -> None:
    """Raises InputError unless a score is finite, with the names of the scorer and of the image."""
    fix = "replace the image, leave its row out, or name another scorer"
    require_finite(f"the score of {scorer}", score, where=str(image), fix=fix, error=InputError)


def state_digest(state: Mapping[str, Tensor], *parts: object) -> str:
    """A digest of tensors by their names, and of anything else that says what they are for."""
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=16)
    for name, value in state.items():
        digest.update(f"{name} {value.dtype} {list(value.shape)}".encode())
        digest.update(value.detach().cpu().reshape(-1).contiguous().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def note_prompts_cut_off(scorers: Iterable[Scorer], prompts: Iterable[str]) -> dict[str, int]:
    """Says how many distinct prompts are longer than each scorer reads; returns an entry of a summary for each.

    A scorer that reads only so much of a prompt has its limits as `text_limits`.
    """
    distinct, counts = list(dict.fromkeys(prompts)), {}
    for scorer in scorers:
        found = note_cut_off(cut_off(distinct, getattr(scorer, "text_limits", ())), scorer.name)
        counts |= {f"{what} by {scorer.name}": number for what, number in found.items()}
    return counts


def to_tensor(images: Images) -> Tensor:
    """The images as one float32 tensor [B, 3, H, W] in [0, 1].

    Raises:
        InputError: their sizes differ.
    """
    if isinstance(images, torch.Tensor):
        return images.float()
    if len(sizes := sorted({image.size for image in images})) > 1:
        shown = ", ".join(f"{width} x {height}" for width, height in sizes)
        raise InputError(f"images of one batch must share a size, not {shown}; resize them first")
    pixels = np.stack([np.asarray(rgb(image)) for image in images])  # [B, H, W, 3]
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255


def to_squares(images: Images, resolution: int) -> Tensor:
    """The largest centred square of each image, resized: float32 [B, 3, R, R] in [0, 1]. PIL images may differ in size.

    This is what `palate align` trains on. No flip, unlike Diffusion-DPO's code: a caption may say left or right, and a
    latent stays a function of its image.
    """
    size = (resolution, resolution)
    if not isinstance(images, torch.Tensor):
        squares = [ImageOps.fit(rgb(image), size, Image.Resampling.BICUBIC) for image in images]
        return to_tensor(squares).contiguous()
    height, width = images.shape[-2:]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = images.float()[..., top : top + side, left : left + side]
    return square if side == resolution else F.interpolate(square, size, mode="bicubic", antialias=True).clamp(0, 1)
