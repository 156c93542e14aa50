"""Prompts that are longer than a text encoder reads: what lies beyond its last token changes nothing."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from palate.core.progress import note
from palate.models.source import ModelSource

COUNT = "prompts cut off"
"""What their number is called in summaries, which have it where it is not zero."""
_AT_ONCE = 1024


@dataclass(frozen=True)
class TextLimit:
    """How much one text encoder reads.

    Attributes:
        tokenizer: of transformers.
        tokens: the most that it reads, those that mark a text's beginning and end among them.
    """

    tokenizer: Any
    tokens: int


def text_limits(source: ModelSource) -> list[TextLimit]:
    """The limit of each text encoder of a pipeline.

    That is the least of what its tokenizer and its configuration allow and what the pipeline asks of it: 77 tokens of
    Stable Diffusion's and SDXL's CLIP, 256 of Stable Diffusion 3's T5.
    """
    from transformers import AutoTokenizer

    from palate.models.load import quiet_libraries

    limits = []
    with quiet_libraries():
        asked = _asked(source)
        for part, kind in source.parts().items():
            if part.startswith("tokenizer") and kind is not None:
                tokenizer = AutoTokenizer.from_pretrained(source.folder / part)
                encoder = source.config(part.replace("tokenizer", "text_encoder"))
                allowed = [tokenizer.model_max_length, encoder.get("max_position_embeddings"), asked]
                limits.append(TextLimit(tokenizer, min(each for each in allowed if each is not None)))
    return limits


def cut_off(prompts: Iterable[str], limits: Sequence[TextLimit]) -> list[str]:
    """The distinct prompts of which every text encoder cuts the end off, in their order."""
    left = list(dict.fromkeys(prompts)) if limits else []
    for limit in limits:
        # A token is one character at least, of plain ASCII; two more mark a text's beginning and end.
        doubtful = [each for each in left if len(each) > limit.tokens - 2 or not each.isascii()]
        left = [
            prompt
            for start in range(0, len(doubtful), _AT_ONCE)
            for prompt, tokens in _tokenised(limit.tokenizer, doubtful[start : start + _AT_ONCE])
            if tokens > limit.tokens
        ]
    return left


def note_cut_off(prompts: Sequence[str], reader: str) -> dict[str, int]:
    """Says how many prompts are cut off, and by what; returns the entry of a summary, empty where there is none.

    Args:
        prompts: those that `cut_off` found.
        reader: what reads no more of them, such as a model's name.
    """
    if not prompts:
        return {}
    shown = " ".join(prompts[0].split())[:60]
    one = len(prompts) == 1
    what = (
        f"1 prompt is longer than {reader} reads" if one else f"{len(prompts)} prompts are longer than {reader} reads"
    )
    note(f"{what}, so {'its end is' if one else 'their ends are'} cut off: {shown!r}...")
    return {COUNT: len(prompts)}


def _tokenised(tokenizer: Any, prompts: list[str]) -> list[tuple[str, int]]:
    """Each prompt with its number of tokens."""
    found = tokenizer(prompts, truncation=False, padding=False, verbose=False)["input_ids"] if prompts else []
    return [(prompt, len(tokens)) for prompt, tokens in zip(prompts, found, strict=True)]


def _asked(source: ModelSource) -> int | None:
    """The most tokens that a pipeline asks of an encoder whose own length has no end, such as T5."""
    import diffusers

    kind = getattr(diffusers, source.index.get("_class_name", ""), None)
    parameter = inspect.signature(kind.encode_prompt).parameters.get("max_sequence_length") if kind else None
    return parameter.default if parameter and isinstance(parameter.default, int) else None
