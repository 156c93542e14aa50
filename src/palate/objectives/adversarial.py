"""The adversarial term: images whose one-step clean estimate a discriminator takes for a preferred image."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import softplus


def generator_loss(logit_fake: Tensor) -> Tensor:
    """What the policy pays [B] for estimates that the discriminator sees through: `-log sigmoid(logit_fake)`.

    Args:
        logit_fake: the discriminator's logit of the policy's clean estimate [B]; above zero is "real".

    Reference: Goodfellow et al. 2014 (arXiv:1406.2661), section 3, the non-saturating form.
    """
    return softplus(-logit_fake)


def discriminator_loss(logit_real: Tensor, logit_fake: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """The discriminator's own loss [B]: `-log sigmoid(logit_real) - log(1 - sigmoid(logit_fake))`.

    Args:
        logit_real: its logit of preferred images [B].
        logit_fake: its logit of the policy's clean estimates of them [B], which carry no gradient.

    Returns:
        The loss [B], 2 log 2 for a discriminator that knows nothing; and metrics [B], detached:
        `discriminator_accuracy`, whether the real image got the higher logit (a tie is a half).

    Reference: Goodfellow et al. 2014 (arXiv:1406.2661), equation 1.
    """
    loss = softplus(-logit_real) + softplus(logit_fake)
    return loss, {"discriminator_accuracy": ((logit_real - logit_fake).detach().sign() + 1) / 2}
