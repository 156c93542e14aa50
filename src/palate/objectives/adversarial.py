"""The adversarial term: the policy's one-step clean estimates should look like preferred images to a discriminator."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import softplus


def generator_loss(logit_fake: Tensor) -> Tensor:
    """The policy's loss [B] of its clean estimates: `-log sigmoid(logit_fake)`.

    Args:
        logit_fake: the discriminator's logit of the policy's clean estimate [B]; above zero means "real".

    Reference: Goodfellow et al. 2014 (arXiv:1406.2661), section 3, the non-saturating form.
    """
    return softplus(-logit_fake)


def discriminator_loss(logit_real: Tensor, logit_fake: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """The discriminator's own loss [B]: `-log sigmoid(logit_real) - log(1 - sigmoid(logit_fake))`.

    Args:
        logit_real: its logit of preferred images [B].
        logit_fake: its logit of the policy's clean estimates of them [B], which carry no gradient.

    Returns:
        The loss [B], 2 log 2 for a discriminator that gives every image the logit 0; and metrics [B], detached:
        `discriminator_accuracy`, 1 if the real image has the higher logit, a half for a tie.

    Reference: Goodfellow et al. 2014 (arXiv:1406.2661), equation 1.
    """
    loss = softplus(-logit_real) + softplus(logit_fake)
    return loss, {"discriminator_accuracy": ((logit_real - logit_fake).detach().sign() + 1) / 2}
