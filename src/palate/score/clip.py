"""CLIP-like models, including PickScore and SigLIP: the model, and the scorer `clip:<model>`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F

from palate.core.device import pick_device
from palate.core.errors import InputError
from palate.core.plugins import ScorerFacts, plugins
from palate.models.prompt_length import TextLimit
from palate.models.quiet import quiet_libraries
from palate.records.decode import rgb
from palate.score.base import Images, state_digest

if TYPE_CHECKING:
    from torch import Tensor


class Clip:
    """A model with one encoder for images and one for texts, and its preprocessing.

    PIL images go through the checkpoint's own preprocessing; a tensor is resized and normalised differentiably, with
    the same result up to rounding to 8 bits.

    Args:
        model: a built-in name, a folder or a hub id of any model of transformers with image and text features.
        weights: a folder with weights to use instead of the model's own.

    Attributes:
        network: the two encoders, in float32.
        width: the width of the features.

    Raises:
        InputError: there is no such model.
    """

    def __init__(self, model: str, weights: str | None = None) -> None:
        from transformers import AutoImageProcessor, AutoModel, AutoTokenizer

        source = plugins().models.get(model, model)
        try:
            with quiet_libraries():
                network = AutoModel.from_pretrained(weights or source, dtype=torch.float32, use_safetensors=True)
                self._tokenizer: Any = AutoTokenizer.from_pretrained(source)
                self._processor: Any = AutoImageProcessor.from_pretrained(source, backend="pil")
        except (OSError, ValueError) as error:
            fix = "give a built-in name, a folder or a hub id with safetensors weights"
            raise InputError(f"cannot load the CLIP model {model!r}: {str(error).splitlines()[0]}; {fix}") from error
        if not hasattr(network, "get_image_features"):
            kind = type(network).__name__
            raise InputError(f"{model!r} is a {kind}, without features of images and texts; give a CLIP-like model")
        self.network: Any = network.eval()
        # SigLIP was trained on texts of one length.
        self._padded = "max_length" if network.config.model_type.startswith("siglip") else "longest"
        text: Any = getattr(network.config, "text_config", network.config)
        self._longest = min(self._tokenizer.model_max_length, text.max_position_embeddings)
        self.width: int = getattr(network.config, "projection_dim", None) or text.hidden_size

    @property
    def text_limit(self) -> TextLimit:
        """The limit on the length of a prompt."""
        return TextLimit(self._tokenizer, self._longest)

    @property
    def device(self) -> torch.device:
        """The device of the network."""
        return next(self.network.parameters()).device

    def fingerprint(self) -> str:
        """A digest of the weights (or of the hub's commit instead) and of the settings of the preprocessing."""
        names = ("size", "crop_size", "image_mean", "image_std", "do_resize", "do_center_crop", "resample")
        settings = [str(getattr(self._processor, name, None)) for name in names]
        weights = getattr(self.network.config, "_commit_hash", None) or state_digest(self.network.state_dict())
        return state_digest({}, weights, settings, self._longest, self._padded)

    def image_features(self, pixels: Tensor) -> Tensor:
        """Features of norm one [B, D] of the result of `pixels`."""
        return _unit(self.network.get_image_features(pixel_values=pixels.to(self.device)))

    def prompt_features(self, prompts: Sequence[str]) -> Tensor:
        """Features of norm one [B, D] of texts; texts that are longer than the model reads are cut off."""
        tokens = self._tokenizer(
            list(prompts), padding=self._padded, truncation=True, max_length=self._longest, return_tensors="pt"
        )
        return _unit(self.network.get_text_features(**tokens.to(self.device)))

    def logit(self, image: Tensor, text: Tensor) -> Tensor:
        """`exp(logit_scale) cos(image, text)` of features [..., D], plus SigLIP's bias where there is one."""
        similar = self.network.logit_scale.exp() * (image * text).sum(-1)
        bias = getattr(self.network, "logit_bias", None)
        return similar if bias is None else similar + bias

    def pixels(self, images: Images) -> Tensor:
        """The input of the image encoder [B, 3, h, w]."""
        if not isinstance(images, torch.Tensor):
            return self._processor(images=[rgb(image) for image in images], return_tensors="pt").pixel_values
        settings = self._processor
        if settings.do_resize:
            size = _resized(images.shape[-2:], dict(settings.size))
            images = F.interpolate(images, size, mode="bicubic", antialias=True).clamp(0, 1)
        if getattr(settings, "do_center_crop", False):
            images = _centre(images, settings.crop_size["height"], settings.crop_size["width"])
        mean, std = (torch.tensor(each).view(3, 1, 1).to(images) for each in (settings.image_mean, settings.image_std))
        return (images - mean) / std


class ClipScorer:
    """`exp(logit_scale) cos(image, text)`: the model's own logit.

    For OpenAI's CLIP the scale is 100, so this is the "CLIP score" of 100 times the cosine; for CLIPScore see
    `score.clipscore`.

    Args:
        model: see `Clip`.
        device: the best one when left out.

    Raises:
        InputError: there is no such model.
    """

    facts = ScorerFacts(
        title="agreement of image and prompt under a CLIP or SigLIP model",
        values="the model's logit; about 15 to 40 for OpenAI's CLIP",
        licence="that of the model (OpenAI's CLIP: MIT)",
        size="that of the model (ViT-L/14: 0.43 billion parameters, 1.7 GB)",
        source="Radford et al. 2021, arXiv:2103.00020",
    )
    family = "clip"
    higher_is_better = True
    differentiable = True
    reads_prompt = True

    def __init__(self, model: str, device: str | None = None) -> None:
        self.name, self._clip = f"{self.family}:{model}", self.load(model)
        self.text_limits = [self._clip.text_limit]
        self._clip.network.requires_grad_(False).to(pick_device(device))

    def load(self, model: str) -> Clip:
        """The model that an argument names."""
        return Clip(model)

    def fingerprint(self) -> str:
        """A digest of the weights and the preprocessing; see `Scorer`."""
        return self._clip.fingerprint()

    def __call__(self, images: Images, prompts: Sequence[str]) -> Tensor:
        """Scores [B]; see `Scorer`."""
        clip = self._clip
        return self.combine(clip.image_features(clip.pixels(images)), clip.prompt_features(prompts)).float().cpu()

    def combine(self, image: Tensor, text: Tensor) -> Tensor:
        """The scores [B] of features of norm one [B, D] of images and of their prompts."""
        return self._clip.logit(image, text)


def _unit(output: Any) -> Tensor:
    """Projected features with norm one, from either major version of transformers."""
    return F.normalize(getattr(output, "pooler_output", output), dim=1)


def _resized(shape: Sequence[int], size: dict[str, int]) -> tuple[int, int]:
    """Height and width after a CLIP processor's resize, which scales the shortest edge or sets both."""
    if edge := size.get("shortest_edge"):
        height, width = shape
        return (edge, int(edge * width / height)) if height <= width else (int(edge * height / width), edge)
    return size["height"], size["width"]


def _centre(images: Tensor, height: int, width: int) -> Tensor:
    top, left = (images.shape[-2] - height) // 2, (images.shape[-1] - width) // 2
    return images[..., top : top + height, left : left + width]
