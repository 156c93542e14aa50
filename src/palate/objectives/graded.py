"""Learning a number from grades: Lee et al.'s reward function, and the discriminator's binary case."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from palate.objectives.metrics import Metrics, Partly


def regression(reward: Tensor, grade: Tensor, temperature: float, auxiliary: float) -> tuple[Tensor, Metrics]:
    """Squared error to the grade, and for good images the choice of their prompt among perturbed ones.

    `(r(x, z) - y)^2 + y * auxiliary * -log(exp(r(x, z) / T) / sum_j exp(r(x, z_j) / T))`

    Args:
        reward: of each image under its own prompt and under K perturbed prompts [B, 1 + K], in [0, 1].
        grade: y [B], in [0, 1]. In the paper 0 and 1, and only good images choose; between, the grade
            weighs the choice.
        temperature: T of the choice, above 0.
        auxiliary: weight of the choice; 0 is plain regression.

    Returns:
        The loss [B]; and metrics [B], detached: `squared_error`, and `prompt_accuracy`, whether the own prompt has the
        highest reward, where the grade is a half or more.

    Reference: Lee et al. 2023 (arXiv:2302.12192), section 3.2, equations 1 and 2.
    """
    squared = (reward[:, 0] - grade).square()
    own = torch.zeros(len(reward), dtype=torch.long, device=reward.device)
    choice = cross_entropy(reward / temperature, own, reduction="none")
    metrics: dict[str, Tensor | Partly] = {"squared_error": squared.detach()}
    if reward.shape[1] > 1:
        metrics["prompt_accuracy"] = Partly((reward.argmax(1) == 0).float(), grade >= 0.5)
    return squared + auxiliary * grade * choice, metrics


def realism(logit: Tensor, real: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """Binary cross-entropy of a discriminator.

    Args:
        logit: [B], above zero is "real".
        real: 1 for an image that is, 0 for a generated one [B].

    Returns:
        The loss [B]; and `accuracy` [B], detached.

    Reference: Goodfellow et al. 2014 (arXiv:1406.2661), equation 1, for one image.
    """
    right = ((logit > 0) == (real > 0.5)).float().detach()
    return binary_cross_entropy_with_logits(logit, real, reduction="none"), {"accuracy": right}
