"""Supervised fine-tuning: the model's own denoising loss, on preferred images only."""

from __future__ import annotations

from torch import Tensor


def sft(error: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss of each image [B] is its denoising error [B]; there are no metrics.

    Reference: Ho et al. 2020 (arXiv:2006.11239), equation 14; the "SFT" baseline of Wallace et al. 2023
    (arXiv:2311.12908), section 5.3.
    """
    return error, {}
