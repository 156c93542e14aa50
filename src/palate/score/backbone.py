"""The backbones of learned rewards, which compute the features of images and prompts."""

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
    """Computes features of images and prompts.

    Attributes:
        name: its name for `load_backbone`, valid from any working directory.
        widths: the widths of an image's features and of a prompt's; 0 for a backbone that reads no prompt.
        network: the module that can be trained, or None.
        differentiable: whether features have a gradient with respect to a tensor of images.
    """

    name: str
    widths: tuple[int, int]
    network: Any
    differentiable: bool

    def preprocess(self, images: Images) -> Tensor:
        """Images as one tensor [B, ...], the input of `image_features`."""
        ...

    def image_features(self, inputs: Tensor) -> Tensor:
        """Features [B, D] of preprocessed images."""
        ...

    def prompt_features(self, prompts: Sequence[str]) -> Tensor:
        """Features [B, E] of prompts."""
        ...


class ClipBackbone:
    """The features of a CLIP-like model, with norm one.

    Args:
        model: see `Clip`.
        weights: a folder with weights to use instead of the model's own.

    Raises:
        InputError: there is no such model.
    """

    differentiable: bool = True

    def __init__(self, model: str, weights: Path | None = None) -> None:
        from palate.score.clip import Clip

        self.name: str = portable(model)
        self.clip = Clip(model, None if weights is None else str(weights))
        self.network: Any = self.clip.network
        self.widths: tuple[int, int] = (self.clip.width, self.clip.width)

    def preprocess(self, images: Images) -> Tensor:
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

    def preprocess(self, images: Images) -> Tensor:
        """Statistics [B, K]; see `Backbone`."""
        return image_statistics(images)

    def image_features(self, inputs: Tensor) -> Tensor:
        """The statistics themselves."""
        return inputs

    def prompt_features(self, prompts: Sequence[str]) -> Tensor:
        """Empty features [B, 0]."""
        return torch.zeros(len(prompts), 0)


def load_backbone(name: str, weights: Path | None = None) -> Backbone:
    """A backbone by its name.

    Args:
        name: `statistics`, or a built-in name, a folder or a hub id of a CLIP-like model.
        weights: a folder with weights to use instead of the model's own.

    Raises:
        InputError: there is no such model.
    """
    return StatisticsBackbone() if name == STATISTICS else ClipBackbone(name, weights)


def text_limits_of(backbone: Backbone) -> list[TextLimit]:
    """The limits on the length of prompts that a backbone reads; empty for one that reads no prompt."""
    return [backbone.clip.text_limit] if isinstance(backbone, ClipBackbone) else []


def portable(model: str) -> str:
    """A model's name that is valid from any working directory."""
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
