"""The protocol of scorers, and the conversion of images to tensors."""

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
    """Gives one number per image, which may depend on its prompt.

    Attributes:
        name: the spec that loads it, such as `clip:<model>`, and the name of its column in a table of scores.
        higher_is_better: whether a higher score is the better one.
        differentiable: whether the scores of a tensor of images have a gradient with respect to it.
        reads_prompt: whether a score depends on the prompt; if not, images without a prompt can be scored.

    A scorer may also have these, whose defaults hold for most:
        within_prompt: whether it compares the images of a prompt and must see them together; False when left out.
        repeatable: whether an equal fingerprint means equal scores in a later run, so that scores may be kept in the
            cache folder; True when left out.
        text_limits: how much of a prompt it reads; all of it when left out.
        repeated: the number of requests that failed and were repeated.
    """

    name: str
    higher_is_better: bool
    differentiable: bool
    reads_prompt: bool

    def __call__(self, images: Images, prompts: Sequence[str]) -> Tensor:
        """Scores [B] in float32, on the CPU, of B images and the B prompts they were made from."""
        ...

    def fingerprint(self) -> str:
        """A digest of everything that scores depend on except images and prompts, the same on any device."""
        ...


@torch.no_grad()
def score_images(scorer: Scorer, images: Images, prompts: Sequence[str]) -> list[float]:
    """The scores [B] of B images, as plain numbers without a gradient.

    Raises:
        InputError: the scorer does not give one number per image.
    """
    scores = scorer(images, prompts)
    if scores.shape != (len(prompts),):
        raise InputError(
            f"{scorer.name} gives scores of shape {list(scores.shape)} for {len(prompts)} images; it must give one per "
            "image"
        )
    return scores.tolist()


def try_scorer(scorer: Scorer, size: tuple[int, int], prompt: str) -> None:
    """Scores an empty image, so that a scorer that cannot read a model's images raises its error early.

    Args:
        scorer: the scorer.
        size: width and height of the image in pixels.
        prompt: the prompt of the image.
    """
    score_images(scorer, [Image.new("RGB", size)], [prompt])


def require_score(scorer: str, score: float, image: object) -> None:
    """Raises InputError, which names the scorer and the image, unless a score is finite."""
    fix = "replace the image, leave its row out, or name another scorer"
    require_finite(f"the score of {scorer}", score, where=str(image), fix=fix, error=InputError)


def state_digest(state: Mapping[str, Tensor], *parts: object) -> str:
    """A digest of named tensors, and of any other values that belong to them."""
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=16)
    for name, value in state.items():
        digest.update(f"{name} {value.dtype} {list(value.shape)}".encode())
        digest.update(value.detach().cpu().reshape(-1).contiguous().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def note_prompts_cut_off(scorers: Iterable[Scorer], prompts: Iterable[str]) -> dict[str, int]:
    """Prints how many distinct prompts are longer than each scorer reads; returns an entry of a summary for each.

    A scorer that reads only the beginning of a prompt has an attribute `text_limits`; of a composite, the parts count.
    """
    distinct, counts = list(dict.fromkeys(prompts)), {}
    for scorer in {id(part): part for each in scorers for part in getattr(each, "parts", (each,))}.values():
        found = note_cut_off(cut_off(distinct, getattr(scorer, "text_limits", ())), scorer.name)
        counts |= {f"{what} by {scorer.name}": number for what, number in found.items()}
    return counts


def require_package(family: str, module: str, package: str) -> None:
    """Raises InputError, with what to install, unless the module that a family of scorers needs is installed."""
    from importlib.util import find_spec

    if find_spec(module) is None:
        raise InputError(f"the scorer {family} needs {package}, which is not installed: pip install {package}")


def to_images(images: Images) -> list[Image.Image]:
    """The images as PIL images; a tensor is rounded to 8 bits."""
    if not isinstance(images, torch.Tensor):
        return list(images)
    pixels = (255 * images.detach().clamp(0, 1)).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    return [Image.fromarray(each) for each in pixels]


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


def to_size(images: Images, height: int, width: int) -> Tensor:
    """The largest centred crop of a shape from each image, resized: float32 [B, 3, H, W] in [0, 1].

    `palate align` trains on these images. They are not flipped, unlike in Diffusion-DPO's code: a caption may say left
    or right, and a latent remains a function of its image.

    Args:
        images: PIL images may differ in size.
        height, width: H and W, in pixels.
    """
    if not isinstance(images, torch.Tensor):
        crops = [ImageOps.fit(rgb(image), (width, height), Image.Resampling.BICUBIC) for image in images]
        return to_tensor(crops).contiguous()
    full_height, full_width = images.shape[-2:]
    tall, wide = min(full_height, full_width * height // width), min(full_width, full_height * width // height)
    top, left = (full_height - tall) // 2, (full_width - wide) // 2
    crop = images.float()[..., top : top + tall, left : left + wide]
    if (tall, wide) == (height, width):
        return crop
    return F.interpolate(crop, (height, width), mode="bicubic", antialias=True).clamp(0, 1)
