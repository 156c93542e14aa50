"""The link function, which turns a margin into a loss: the only difference between DPO, IPO, SLiC and cDPO."""

from __future__ import annotations

from typing import Literal

from torch import Tensor
from torch.nn.functional import logsigmoid, relu

Link = Literal["sigmoid", "hinge", "ipo"]


def link_loss(margin: Tensor, link: Link = "sigmoid", smoothing: float | Tensor = 0.0) -> Tensor:
    """The loss [B] of margins [B]; a margin above zero ranks its pair correctly.

    | link | loss of a margin m | source |
    |---|---|---|
    | `sigmoid` | `-log sigmoid(m)` | Bradley-Terry; Rafailov et al. 2023 (arXiv:2305.18290), equation 7 |
    | `hinge` | `max(0, 1 - m)` | SLiC, Zhao et al. 2023 (arXiv:2305.10425), with a margin of 1 |
    | `ipo` | `(m - 1/2)^2` | Azar et al. 2023 (arXiv:2310.12036), equation 17, times beta^2: the same minimum |

    Args:
        margin: beta times the difference of log-ratios [B].
        link: the link function.
        smoothing: share of pairs that are assumed to be ranked wrongly, in [0, 0.5): the loss is
            `(1 - smoothing) f(m) + smoothing f(-m)` (cDPO, Mitchell 2023, "A note on DPO with noisy preferences"). Or
            for each pair the share of its raters who prefer the loser [B], in [0, 1]: then it is the mean loss over the
            raters, which for the sigmoid is least where `sigmoid(m)` is the share of the others.

    Raises:
        ValueError: there is no such link, or the smoothing is outside its range.
    """
    losses = {
        "sigmoid": lambda m: -logsigmoid(m),
        "hinge": lambda m: relu(1 - m),
        "ipo": lambda m: (m - 0.5).square(),
    }
    if link not in losses:
        raise ValueError(f"unknown link {link!r}; choose from {', '.join(losses)}")
    loss = losses[link]
    if not isinstance(smoothing, Tensor):
        if not 0 <= smoothing < 0.5:
            raise ValueError(f"smoothing must be at least 0 and below 0.5, not {smoothing}")
        if smoothing == 0:
            return loss(margin)
    return (1 - smoothing) * loss(margin) + smoothing * loss(-margin)


def ranked_correctly(margin: Tensor) -> Tensor:
    """1 where a margin is above zero, 0 below, a half for a tie; detached."""
    return (margin.detach().sign() + 1) / 2
