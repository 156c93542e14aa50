"""What a learned reward looks through: the features of an image and of a prompt."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch

from palate.core.plugins import plugins
from palate.models.prompt_length import TextLimit
from palate.score.base import Images
from palate.score.image_statistics import NAMES, image_statistics

if TYPE_CHECKING:
    from torch import Tensor

STATISTICS = "statistics"


class Backbone(Protocol):
    """Images and prompts to features.

    Attributes:
        name: what `load_backbone` finds it by, from any folder.
        widths: elements of an image's feature and of a prompt's; 0 for a backbone that reads no prompt.
        network: the module that can be trained, or None.
        differentiable: whether features have a gradient with respect to a tensor of images.
    """

    name: str
    widths: tuple[int, int]
    network: Any
    differentiable: bool

    def read(self, images: Images) -> Tensor:
        """Images as one tensor [B, ...], which may be kept instead of them."""
        ...

    def image_features(self, inputs: Tensor) -> Tensor:
        """Features [B, D] of what `read` gave."""
        ...

    def prompt_features(self, prompts: Sequence[str]) -> Tensor:
        """Features [B, E] of prompts."""
        ...


class ClipBackbone:
    """The features of a CLIP-like model, of length one.

    Args:
        model: as of `Clip`.
        weights: a folder whose weights stand for the model's own.

    Raises:
        InputError: no such model.
    """

    differentiable: bool = True

    def __init__(self, model: str, weights: Path | None = None) -> None:
        from palate.score.clip import Clip

        self.name: str = portable(model)
        self.clip = Clip(model, None if weights is None else str(weights))
        self.network: Any = self.clip.network
        self.widths: tuple[int, int] = (self.clip.width, self.clip.width)

    def read(self, images: Images) -> Tensor:
        """Pixels [B, 3, h, w]; see `Backbone`."""
        return self.clip.pixels(images)

    def image_features(self, inputs: Tensor) -> Tensor:
        """Features [B, D] of pixels."""
        return self.clip.image_features(inputs)

    def prompt_features(self, prompts: Sequence[str]) -> Tensor:
        """Features [B, D] of prompts."""
        return self.clip.prompt_features(prompts)


class StatisticsBackbone:
    """The statistics of an image; prompts are not read, and there is nothing to train."""

    name: str = STATISTICS
    widths: tuple[int, int] = (len(NAMES), 0)
    network: Any = None
    differentiable: bool = False

    def read(self, images: Images) -> Tensor:
        """Statistics [B, K]; see `Backbone`."""
        return image_statistics(images)

    def image_features(self, inputs: Tensor) -> Tensor:
        """The same."""
        return inputs

    def prompt_features(self, prompts: Sequence[str]) -> Tensor:
        """Nothing [B, 0]."""
        return torch.zeros(len(prompts), 0)


def load_backbone(name: str, weights: Path | None = None) -> Backbone:
    """A backbone by its name.

    Args:
        name: `statistics`, or a built-in name, a folder or a hub id of a CLIP-like model.
        weights: a folder whose weights stand for the model's own.

    Raises:
        InputError: no such model.
    """
    return StatisticsBackbone() if name == STATISTICS else ClipBackbone(name, weights)


def text_limits_of(backbone: Backbone) -> list[TextLimit]:
    """How much of a prompt a backbone reads; empty for one that reads none."""
    return [backbone.clip.text_limit] if isinstance(backbone, ClipBackbone) else []


def portable(model: str) -> str:
    """A model's name that means the same from another folder."""
    path = Path(model).expanduser()
    return model if model in plugins().models or not path.exists() else str(path.resolve())


def backbone_fingerprint(backbone: Backbone) -> str:
    """A digest of a backbone's name and weights."""
    found = hashlib.blake2b(f"{backbone.name} {backbone.widths}".encode(), digest_size=16)
    state = backbone.network.state_dict() if backbone.network is not None else {}
    for name, value in state.items():
        found.update(name.encode())
        found.update(value.detach().cpu().reshape(-1).contiguous().view(torch.uint8).numpy().data)
    return found.hexdigest()
