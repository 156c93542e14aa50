"""Prompts that are longer than a text encoder reads: the text after its last token has no effect."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from palate.core.progress import note
from palate.models.families import find_adapter
from palate.models.source import ModelSource

COUNT = "prompts cut off"
"""The key of their number in summaries, which is left out if it is zero."""
_AT_ONCE = 1024


@dataclass(frozen=True)
class TextLimit:
    """How much one text encoder reads.

    Attributes:
        tokenizer: a tokenizer of transformers.
        tokens: the largest number of tokens that it reads, including those that mark the beginning and end of a text.
    """

    tokenizer: Any
    tokens: int


def text_limits(source: ModelSource) -> list[TextLimit]:
    """The limit of each text encoder of a pipeline.

    It is the smallest of the limits of its tokenizer, its configuration and the pipeline: 77 tokens for the CLIP of
    Stable Diffusion and SDXL, 256 for the T5 of Stable Diffusion 3. The words that a pipeline puts before every prompt
    are part of its own limit.
    """
    from transformers import AutoTokenizer

    from palate.models.quiet import quiet_libraries

    limits = []
    with quiet_libraries():
        in_pipeline, adapter = _pipeline_limit(source), find_adapter(source)
        for part, kind in source.parts().items():
            if part.startswith("tokenizer") and kind is not None:
                tokenizer = AutoTokenizer.from_pretrained(source.folder / part)
                encoder = source.config(part.replace("tokenizer", "text_encoder"))
                before = adapter.before_prompt(tokenizer) if adapter else ""
                taken = len(tokenizer(before, add_special_tokens=False)["input_ids"]) if before else 0
                left = None if in_pipeline is None else in_pipeline - taken
                allowed = [tokenizer.model_max_length, encoder.get("max_position_embeddings"), left]
                limits.append(TextLimit(tokenizer, min(each for each in allowed if each is not None)))
    return limits


def cut_off(prompts: Iterable[str], limits: Sequence[TextLimit]) -> list[str]:
    """The distinct prompts whose end every text encoder cuts off, in their order."""
    left = list(dict.fromkeys(prompts)) if limits else []
    for limit in limits:
        # In plain ASCII a token is at least one character; two more tokens mark the beginning and end of a text.
        doubtful = [each for each in left if len(each) > limit.tokens - 2 or not each.isascii()]
        left = [
            prompt
            for start in range(0, len(doubtful), _AT_ONCE)
            for prompt, tokens in _tokenised(limit.tokenizer, doubtful[start : start + _AT_ONCE])
            if tokens > limit.tokens
        ]
    return left


def note_cut_off(prompts: Sequence[str], reader: str) -> dict[str, int]:
    """Prints how many prompts are cut off; returns their number as an entry of a summary, empty if there are none.

    Args:
        prompts: the prompts that `cut_off` returned.
        reader: the name of the model or scorer that cuts them off.
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


def _pipeline_limit(source: ModelSource) -> int | None:
    """The pipeline's own limit, which it sets for encoders that have no limit themselves, such as T5."""
    import diffusers

    kind = getattr(diffusers, source.index.get("_class_name", ""), None)
    parameter = inspect.signature(kind.__call__).parameters.get("max_sequence_length") if kind else None
    return parameter.default if parameter and isinstance(parameter.default, int) else None
