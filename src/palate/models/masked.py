"""Prompts that a pipeline pads to one length: kept without the padding, and padded and masked for the network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from palate.models.conditioning import Conditioning, Ragged


@torch.no_grad()
def encode_masked(pipeline: Any, prompts: Sequence[str | None], length: int, **options: Any) -> Conditioning:
    """The conditioning of B prompts, as the pipeline computes it, without the padded tokens: `embeddings`, ragged.

    None is encoded as the pipeline encodes its negative prompt when none is given, which in some families differs from
    the empty prompt.

    Args:
        pipeline: a diffusers pipeline.
        prompts: B prompts.
        length: the number of tokens to which the pipeline pads.
        options: more arguments of its `encode_prompt`.
    """
    absent = torch.tensor([prompt is None for prompt in prompts], device=pipeline.text_encoder.device)
    embeddings, mask, negative, negative_mask = pipeline.encode_prompt(
        [prompt or "" for prompt in prompts],
        do_classifier_free_guidance=bool(absent.any()),
        device=pipeline.text_encoder.device,
        max_sequence_length=length,
        **options,
    )
    kept = _tokens(mask, embeddings)
    if absent.any():
        kept = torch.where(absent[:, None], _tokens(negative_mask, negative), kept)
        embeddings = torch.where(absent[:, None, None], negative, embeddings)
    return Conditioning({"embeddings": Ragged.of([row[places] for row, places in zip(embeddings, kept)])})


def pad(conditioning: Conditioning, length: int) -> tuple[Tensor, Tensor]:
    """The embeddings padded with zeros [B, L, D], and their mask [B, L] as a tokenizer's: 1 for a token."""
    embeddings = conditioning.ragged("embeddings")
    return embeddings.padded(length), embeddings.mask(length).long()


def masked_inputs(conditioning: Conditioning, length: int) -> dict[str, Any]:
    """The arguments with which these pipelines take encoded prompts."""
    embeddings, mask = pad(conditioning, length)
    return {"prompt_embeds": embeddings, "prompt_attention_mask": mask}


def _tokens(mask: Tensor, embeddings: Tensor) -> Tensor:
    """Where embeddings [B, L, D] belong to a token [B, L], of a mask [B, L] or, as AuraFlow's, [B, L D]."""
    return mask.reshape(*embeddings.shape[:2], -1)[:, :, 0].bool()
