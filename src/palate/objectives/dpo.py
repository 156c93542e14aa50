"""Diffusion-DPO: denoise the winner better than the reference does, and the loser worse."""

from __future__ import annotations

from torch import Tensor

from palate.objectives.error import pair_margin
from palate.objectives.link import Link, link_loss, ranked_correctly


def dpo(
    error_w: Tensor,
    error_l: Tensor,
    error_w_ref: Tensor,
    error_l_ref: Tensor,
    beta: float | Tensor,
    anchor: float = 0.0,
    link: Link = "sigmoid",
    smoothing: float | Tensor = 0.0,
) -> tuple[Tensor, dict[str, Tensor]]:
    """The Diffusion-DPO loss of each pair.

    `-log sigmoid(-(beta / 2) [(error_w - error_w_ref) - (error_l - error_l_ref)])`

    Args:
        error_w: the policy's error on the winner [B].
        error_l: its error on the loser, at the same timestep and noise [B].
        error_w_ref: the reference's error on the winner [B].
        error_l_ref: its error on the loser [B].
        beta: strength of the pull towards the reference; one, or one for each pair [B].
        anchor: weight of the winner's own error, added to the loss: 0 is Diffusion-DPO as published. DPO's loss also
            falls when both errors rise and the loser's rises faster; the anchor prevents this (Pang et al. 2024,
            arXiv:2404.19733, equation 1, whose likelihood of the winner is here its negative error).
        link: `sigmoid` as published, or another of `link.link_loss`.
        smoothing: share of pairs that are assumed to be ranked wrongly, or of each pair's raters [B].

    Returns:
        The loss [B], log 2 where the policy equals the reference; and metrics [B], detached: `accuracy` (1 if the
        implicit reward ranks the pair correctly, a half for a tie) and `margin` (the difference of the rewards).

    Reference: Wallace et al. 2023 (arXiv:2311.12908), equation 14, with its constant weighting and the timestep count
    T folded into beta, as in the authors' code.
    """
    margin = pair_margin(error_w, error_l, error_w_ref, error_l_ref, beta)
    loss = anchor * error_w + link_loss(margin, link, smoothing)
    return loss, {"accuracy": ranked_correctly(margin), "margin": margin.detach()}
