"""LAION's aesthetic predictors v1 and v2: a head on CLIP's features of an image: `aesthetic:v2`, `aesthetic:<file>`."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from palate.core.device import pick_device
from palate.core.errors import InputError
from palate.core.plugins import ScorerFacts
from palate.score.base import Images, state_digest
from palate.score.checkpoint_files import find_weights, read_weights
from palate.score.clip import Clip

if TYPE_CHECKING:
    from torch import Tensor

RELEASED = "v2"
REPOSITORY, FILE = "trl-lib/ddpo-aesthetic-predictor", "aesthetic-model.pth"
"""A copy of `sac+logos+ava1-l14-linearMSE.pth` of github.com/christophschuhmann/improved-aesthetic-predictor."""
LAYERS = (0, 2, 4, 6, 7)
"""The numbers of the linear layers of v2 in its file; the others are dropout, and there are no activations."""
CLIPS = {768: "openai/clip-vit-large-patch14", 512: "openai/clip-vit-base-patch32"}
"""The CLIP whose features a head of some width reads; v1 has one of the other of width 512 too."""
BASE_16 = "openai/clip-vit-base-patch16"


class AestheticScorer:
    """The mean rating from 1 to 10 that people would give an image; the prompt is not read.

    Args:
        head: `v2`, which is downloaded, or the path of a head of v1 or v2, which may be followed by `@` and the CLIP
            whose features it reads; without one it is OpenAI's of that width (a name with `b_16` means ViT-B/16).
        device: the best one when left out.

    Raises:
        InputError: there is no such head or CLIP, or they do not fit together.

    Reference: Schuhmann et al. 2022 (arXiv:2210.08402), section 4; github.com/LAION-AI/aesthetic-predictor (v1).
    """

    facts = ScorerFacts(
        title="how beautiful people find an image (LAION aesthetics v1 and v2)",
        values="about 3 to 8, of 1 to 10",
        licence="MIT (v1), Apache-2.0 (v2); OpenAI's CLIP: MIT",
        size="0.43 billion parameters, 1.7 GB (ViT-L/14)",
        source="Schuhmann et al. 2022, arXiv:2210.08402",
    )
    higher_is_better = True
    differentiable = True
    reads_prompt = False

    def __init__(self, head: str, device: str | None = None) -> None:
        name, _, model = head.partition("@")
        path = Path(name).expanduser()
        if name != RELEASED and not path.is_file():
            raise InputError(f"there is no aesthetic head {name!r}; give {RELEASED}, or the path of a head of v1 or v2")
        path = find_weights(REPOSITORY, FILE) if name == RELEASED else path
        self._head = head_of(path, read_weights(path))
        width = next(self._head.parameters()).shape[1]
        self._clip = Clip(model or _clip_of(path, width))
        if self._clip.width != width:
            fix = "name the CLIP of this head after @"
            raise InputError(f"{path} reads {width} features, and the CLIP has {self._clip.width}; {fix}")
        self.name, self._device = f"aesthetic:{head}", torch.device(pick_device(device))
        for network in (self._head, self._clip.network):
            network.eval().requires_grad_(False).to(self._device)

    def fingerprint(self) -> str:
        """A digest of the head, the weights of the CLIP and its preprocessing; see `Scorer`."""
        return state_digest(self._head.state_dict(), self._clip.fingerprint())

    def __call__(self, images: Images, prompts: Sequence[str]) -> Tensor:
        """Scores [B]; see `Scorer`."""
        features = self._clip.image_features(self._clip.pixels(images))
        return self._head(features)[:, 0].float().cpu()


def head_of(path: Path, tensors: dict[str, Tensor]) -> nn.Sequential:
    """The head of v1 (one linear layer) or v2 (five) in a file.

    Raises:
        InputError: the tensors are those of neither.
    """
    names = ["" if "weight" in tensors else f"layers.{number}." for number in ([0] if "weight" in tensors else LAYERS)]
    weights = [tensors.get(f"{name}weight") for name in names]
    if any(weight is None or weight.dim() != 2 for weight in weights):
        raise InputError(f"{path} is not a head of LAION's aesthetic predictor v1 or v2; it has {sorted(tensors)[:3]}")
    layers = []
    for name, weight in zip(names, weights):
        assert weight is not None  # checked above
        layer = nn.Linear(weight.shape[1], weight.shape[0])
        layer.load_state_dict({"weight": weight, "bias": tensors[f"{name}bias"]})
        layers.append(layer)
    if any(one.out_features != other.in_features for one, other in pairwise(layers)) or layers[-1].out_features != 1:
        raise InputError(f"the layers of {path} do not fit together; fetch it again")
    return nn.Sequential(*layers).float()


def _clip_of(path: Path, width: int) -> str:
    if width not in CLIPS:
        raise InputError(f"{path} reads {width} features of an unknown CLIP; name it: {path.name}@owner/name")
    return BASE_16 if width == 512 and "b_16" in path.name else CLIPS[width]
