"""Captioners: any image-text-to-text model of transformers, and those that plug-ins provide."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch

from palate.core.device import pick_device
from palate.core.errors import InputError, nearest
from palate.core.plugins import plugins
from palate.models.load import quiet_libraries
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
        model: a folder or hub id of a model of transformers with its processor, such as `llava-hf/llava-1.5-7b-hf`
            (Liu et al. 2023, arXiv:2310.03744), in safetensors. Code in a checkpoint is not run.
        question: formatted by the processor's chat template; without a template it follows the processor's image token.
        max_new_tokens: the largest number of tokens in a caption.
        device: the best one when left out. Weights are float32 on a CPU, bfloat16 on other devices.

    Raises:
        InputError: there is no such model, or it has no processor of images and text.
    """

    no_caption_reason = "the model ended its answer before the first word; ask another question"

    def __init__(self, model: str, question: str, max_new_tokens: int, device: str | None = None) -> None:
        device = pick_device(device)
        self._network, self._processor = _load(model, torch.float32 if device == "cpu" else torch.bfloat16)
        self._network.eval().requires_grad_(False).to(device)
        tokenizer = self._processor.tokenizer
        tokenizer.padding_side = "left"  # so that every answer begins where its question ends
        tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
        self._input_text = self._formatted(question)
        begun = bool(tokenizer.bos_token) and self._input_text.startswith(tokenizer.bos_token)  # by the template
        self._options = {"padding": True, "return_tensors": "pt"} | ({"add_special_tokens": False} if begun else {})
        self._greedy = {"do_sample": False, "num_beams": 1, "max_new_tokens": max_new_tokens}

    def fingerprint(self) -> str:
        """The hub's commit, or else a digest of the weights; see `Captioner`."""
        return getattr(self._network.config, "_commit_hash", None) or state_digest(self._network.state_dict())

    def __call__(self, images: Sequence[Image.Image]) -> list[str]:
        """See `Captioner`; spaces and line breaks become one space each."""
        texts, pictures = [self._input_text] * len(images), [[each] for each in images]
        inputs = self._processor(text=texts, images=pictures, **self._options)
        inputs = inputs.to(self._network.device, self._network.dtype)
        pad = self._processor.tokenizer.pad_token_id
        output = self._network.generate(**inputs, **self._greedy, pad_token_id=pad)  # [B, length]
        question = inputs["input_ids"]  # a decoder-only model repeats it before its answer; an encoder-decoder does not
        length = question.shape[1]
        answer = output[:, length:] if torch.equal(output[:, :length], question) else output
        return [" ".join(text.split()) for text in self._processor.batch_decode(answer, skip_special_tokens=True)]

    def _formatted(self, question: str) -> str:
        """The question in the model's own format, with the token that stands for the image."""
        if self._processor.chat_template:
            parts = [{"type": "image"}, {"type": "text", "text": question}]
            turn = {"role": "user", "content": parts}
            return self._processor.apply_chat_template([turn], add_generation_prompt=True)
        mark = getattr(self._processor, "image_token", None)  # not a text if the processor adds it itself, as BLIP-2's
        return f"{mark}\n{question}" if isinstance(mark, str) else question


def load_captioner(name: str, question: str = "", max_new_tokens: int = 64, device: str | None = None) -> Captioner:
    """A plug-in's captioner by its name, or a `ModelCaptioner`; for arguments and errors see there."""
    if make := plugins().captioners.get(name):
        return make(pick_device(device))
    return ModelCaptioner(name, question, max_new_tokens, device)


def _load(model: str, dtype: torch.dtype) -> tuple[Any, Any]:
    """The network and its processor."""
    from safetensors import SafetensorError
    from transformers import AutoModelForImageTextToText, AutoProcessor

    folder = Path(model).expanduser()
    source = str(folder) if folder.is_dir() else model
    try:
        processor = AutoProcessor.from_pretrained(source, trust_remote_code=False)
        if not hasattr(processor, "tokenizer"):
            raise ValueError(f"it has no processor of images and text, only a {type(processor).__name__}")
        with quiet_libraries():
            network = AutoModelForImageTextToText.from_pretrained(
                source, dtype=dtype, use_safetensors=True, trust_remote_code=False
            )
    except (OSError, ValueError, ImportError, SafetensorError) as error:
        said = next((line.rstrip(". ") for line in str(error).splitlines() if line.strip()), type(error).__name__)
        known = plugins().captioners
        model_kind = "a folder or hub id of an image-text-to-text model with safetensors weights"
        fix = f"give {' or '.join([model_kind, *known])}"
        raise InputError(f"cannot load the captioner {model!r}{nearest(model, known)}: {said}; {fix}") from error
    return network, processor
