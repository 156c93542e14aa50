"""The discriminator's loss: is an image real or generated?"""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits


def realism(logit: Tensor, real: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """Binary cross-entropy of a discriminator.

    Args:
        logit: the logits [B]; above zero means "real".
        real: 1 for a real image, 0 for a generated one [B].

    Returns:
        The loss [B]; and `accuracy` [B], detached.

    Reference: Goodfellow et al. 2014 (arXiv:1406.2661), equation 1, for one image.
    """
    right = ((logit > 0) == (real > 0.5)).float().detach()
    return binary_cross_entropy_with_logits(logit, real, reduction="none"), {"accuracy": right}
