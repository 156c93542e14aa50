"""Captioners: any image-text-to-text model of transformers, and those that plug-ins provide."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from palate.core.device import pick_device
from palate.core.errors import InputError, nearest
from palate.core.plugins import plugins
from palate.models.vision_language import VisionLanguageModel
from palate.score.base import state_digest

if TYPE_CHECKING:
    from PIL import Image


class Captioner(Protocol):
    """Writes a one-line caption for each image.

    Attributes:
        no_caption_reason: why an image may get no caption, and what to do; it follows "it has no caption:" in messages.
    """

    no_caption_reason: str

    def fingerprint(self) -> str:
        """A digest of everything that captions depend on except images and configuration, such as weights."""
        ...

    def __call__(self, images: Sequence[Image.Image]) -> list[str]:
        """Captions [B] of B RGB images of any sizes; "" for an image without a caption."""
        ...


class ModelCaptioner:
    """An image-text-to-text model, which answers the same question about every image, with greedy decoding.

    Args:
        model: see `VisionLanguageModel`.
        question: what is asked about each image.
        max_new_tokens: the largest number of tokens in a caption.
        device: the best one when left out.

    Raises:
        InputError: there is no such model, or it has no processor of images and text.
    """

    no_caption_reason = "the model ended its answer before the first word; ask another question"

    def __init__(self, model: str, question: str, max_new_tokens: int, device: str | None = None) -> None:
        try:
            self._model = VisionLanguageModel(model, device)
        except ValueError as error:
            known = plugins().captioners
            model_kind = "a folder or hub id of an image-text-to-text model with safetensors weights"
            fix = f"give {' or '.join([model_kind, *known])}"
            raise InputError(f"cannot load the captioner {model!r}{nearest(model, known)}: {error}; {fix}") from error
        self._text, self._longest = self._model.formatted(question), max_new_tokens

    def fingerprint(self) -> str:
        """The hub's commit, or else a digest of the weights; see `Captioner`."""
        network = self._model.network
        return getattr(network.config, "_commit_hash", None) or state_digest(network.state_dict())

    def __call__(self, images: Sequence[Image.Image]) -> list[str]:
        """See `Captioner`; spaces and line breaks become one space each."""
        answers = self._model.answers(images, [self._text] * len(images), self._longest)
        return [" ".join(text.split()) for text in answers]


def load_captioner(name: str, question: str = "", max_new_tokens: int = 64, device: str | None = None) -> Captioner:
    """A plug-in's captioner by its name, or a `ModelCaptioner`; for arguments and errors see there."""
    if make := plugins().captioners.get(name):
        return make(pick_device(device))
    return ModelCaptioner(name, question, max_new_tokens, device)
