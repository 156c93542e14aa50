"""The reward that an aligned model is implicitly the optimum of: did it learn to rank what it was shown?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from palate.align.batches import Batches
from palate.align.examples import Examples
from palate.align.measure import measure_errors
from palate.align.methods.config import DPOConfig
from palate.align.prepare import prepare
from palate.core.seeds import derive
from palate.diffusion.draws import Draws
from palate.models.load import ENCODERS, load_denoiser
from palate.models.source import ModelSource, resolve
from palate.objectives.error import log_ratio
from palate.prefer.load import load_preferences
from palate.records.ranked import RankedSet
from palate.training.cache import default_root, digest
from palate.training.device import make_accelerator


@dataclass(frozen=True, eq=False)
class ImplicitReward:
    """Rewards of the winners and losers of N pairs.

    Attributes:
        winner, loser: `log p(x | c) / p_base(x | c)` per unit of the published beta, averaged over draws, [N] each.
    """

    winner: Tensor
    loser: Tensor

    @property
    def accuracy(self) -> float:
        """Share of pairs that the reward ranks as people did; ties count a half."""
        return (((self.winner - self.loser).sign() + 1) / 2).mean().item()


def implicit_reward(
    model: str | Path,
    preferences: str | Path | Sequence[RankedSet],
    *,
    draws: int = 8,
    batch: int = 64,
    seed: int = 0,
    device: str | None = None,
    cache: Path | None = None,
) -> ImplicitReward:
    """The implicit reward of an aligned model on pairs: `-(error - error_base) / 2`, averaged over draws.

    The draws are not those of training, so a model that only remembers its noise gains nothing.

    Args:
        model: a run of `palate align` or its `model/` folder.
        preferences: as `load_preferences` takes them, or ranked sets.
        draws: how many (time, noise) each image is measured at.
        batch: images measured at once.
        seed: of the draws.
        device: such as cpu or cuda; the best one there is when left out.
        cache: where latents, embeddings and errors are kept; as of `palate align`.

    Raises:
        InputError: the model was not made by `palate align`.

    Reference: Rafailov et al. 2023 (arXiv:2305.18290), equation 5, with Wallace et al. 2023 (arXiv:2311.12908),
    equation 14, for diffusion.
    """
    aligned = resolve(model)
    base = aligned.origin()
    sets = load_preferences(preferences) if isinstance(preferences, (str, Path)) else preferences
    config = DPOConfig(model=str(model), preferences="", out=Path(), device=device)
    examples = Examples.of(config.method().examples(sets))
    accelerator = make_accelerator(device)
    root = (cache or default_root()) / "align"
    prepared = prepare(base, examples, base.resolution, root, accelerator)

    def measure(source: ModelSource, title: str) -> Tensor:
        denoiser = load_denoiser(source, device=accelerator.device, without=ENCODERS)
        keyed = Draws(examples.keys, derive(seed, "implicit reward"))
        batches = Batches(
            examples, keyed, denoiser.schedule, denoiser.parametrization, prepared.latents, prepared.conditioning
        )
        identity = digest(source.fingerprint(source.network, "scheduler"), prepared.identity)
        every = [np.arange(len(examples.image))] * draws
        return measure_errors(denoiser, batches, every, batch, identity, root, accelerator, title=title)

    reward = log_ratio(measure(aligned, "aligned"), measure(base, "base")).mean(0)  # [V]
    return ImplicitReward(*reward[torch.from_numpy(examples.view)].unbind(1))
