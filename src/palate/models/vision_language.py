"""Image-text-to-text models of transformers, which answer questions about images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from palate.core.device import pick_device
from palate.models.quiet import quiet_libraries

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor


class VisionLanguageModel:
    """A model with its processor of images and text. Code in a checkpoint is not run.

    Args:
        model: a folder or hub id, such as `llava-hf/llava-1.5-7b-hf` (Liu et al. 2023, arXiv:2310.03744), in
            safetensors.
        device: the best one when left out. Weights are float32 on a CPU, bfloat16 on other devices.

    Attributes:
        network, processor: of transformers.

    Raises:
        ValueError: there is no such model, or it has no processor of images and text; the message is one line.
    """

    def __init__(self, model: str, device: str | None = None) -> None:
        device = pick_device(device)
        self.network, self.processor = _load(model, torch.float32 if device == "cpu" else torch.bfloat16)
        self.network.eval().requires_grad_(False).to(device)
        tokenizer = self.processor.tokenizer
        tokenizer.padding_side = "left"  # so that every answer begins where its question ends
        tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token

    def formatted(self, question: str) -> str:
        """A question in the model's own format, with the token that stands for the image.

        The processor's template of conversations gives the format; without one, the question follows that token.
        """
        if self.processor.chat_template:
            parts = [{"type": "image"}, {"type": "text", "text": question}]
            turn = {"role": "user", "content": parts}
            return self.processor.apply_chat_template([turn], add_generation_prompt=True)
        mark = getattr(self.processor, "image_token", None)  # not a text if the processor adds it itself, as BLIP-2's
        return f"{mark}\n{question}" if isinstance(mark, str) else question

    def answers(self, images: Sequence[Image.Image], texts: Sequence[str], max_new_tokens: int) -> list[str]:
        """The answers [B] to formatted questions about B images, with greedy decoding."""
        inputs = self._inputs(images, texts)
        greedy: dict[str, Any] = {"do_sample": False, "num_beams": 1, "max_new_tokens": max_new_tokens}
        pad = self.processor.tokenizer.pad_token_id
        output = self.network.generate(**inputs, **greedy, pad_token_id=pad)  # [B, length]
        question = inputs["input_ids"]  # a decoder-only model repeats it before its answer; an encoder-decoder does not
        length = question.shape[1]
        answer = output[:, length:] if torch.equal(output[:, :length], question) else output
        return self.processor.batch_decode(answer, skip_special_tokens=True)

    @torch.no_grad()
    def first_token(self, images: Sequence[Image.Image], texts: Sequence[str]) -> Tensor:
        """The log-probabilities [B, V] of the first token of an answer to formatted questions about B images."""
        inputs = self._inputs(images, texts)
        if getattr(self.network.config, "is_encoder_decoder", False):
            start = self.network.generation_config.decoder_start_token_id
            first = torch.full((len(images), 1), start, device=self.network.device)
            logits = self.network(**inputs, decoder_input_ids=first).logits[:, 0]
        else:
            logits = self.network(**inputs).logits[:, -1]
        return logits.float().log_softmax(-1)

    def token_of(self, word: str) -> int:
        """The number of the first token of an answer that is a word."""
        return self.processor.tokenizer(word, add_special_tokens=False)["input_ids"][0]

    def _inputs(self, images: Sequence[Image.Image], texts: Sequence[str]) -> Any:
        tokenizer = self.processor.tokenizer
        begun = bool(tokenizer.bos_token) and texts[0].startswith(tokenizer.bos_token)  # by the template
        options: dict[str, Any] = {"add_special_tokens": False} if begun else {}
        pictures = [[image] for image in images]
        inputs = self.processor(text=list(texts), images=pictures, padding=True, return_tensors="pt", **options)
        return inputs.to(self.network.device, self.network.dtype)


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
        raise ValueError(said) from error
    return network, processor
