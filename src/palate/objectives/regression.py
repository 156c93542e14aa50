"""Learning a number from grades: the reward function of Lee et al. 2023."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from palate.objectives.metrics import Metrics, PartialMetric


def regression(reward: Tensor, grade: Tensor, temperature: float, auxiliary: float) -> tuple[Tensor, Metrics]:
    """Squared error to the grade, and for good images the task to choose their prompt among perturbed ones.

    `(r(x, z) - y)^2 + y * auxiliary * -log(exp(r(x, z) / T) / sum_j exp(r(x, z_j) / T))`

    Args:
        reward: of each image under its own prompt and under K perturbed prompts [B, 1 + K], in [0, 1].
        grade: y [B], in [0, 1]. The paper has grades 0 and 1, so that the choice counts for good images only; a grade
            between them is the weight of the choice.
        temperature: T of the choice, above 0.
        auxiliary: weight of the choice; 0 is plain regression.

    Returns:
        The loss [B]; and metrics [B], detached: `squared_error`, and `prompt_accuracy`, 1 if the image's own prompt has
        the highest reward, for images with a grade of a half or more.

    Reference: Lee et al. 2023 (arXiv:2302.12192), section 3.2, equations 1 and 2.
    """
    squared = (reward[:, 0] - grade).square()
    own = torch.zeros(len(reward), dtype=torch.long, device=reward.device)
    choice = cross_entropy(reward / temperature, own, reduction="none")
    metrics: dict[str, Tensor | PartialMetric] = {"squared_error": squared.detach()}
    if reward.shape[1] > 1:
        metrics["prompt_accuracy"] = PartialMetric((reward.argmax(1) == 0).float(), grade >= 0.5)
    return squared + auxiliary * grade * choice, metrics
