"""HPS v2 and v2.1: CLIP-H/14 trained on people's rankings of images of one prompt: `hpsv2`, `hpsv2:v2`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from palate.core.errors import InputError
from palate.core.plugins import ScorerFacts
from palate.score.base import Images, state_digest
from palate.score.checkpoint_files import find_tokenizer, find_weights, read_weights
from palate.score.clip import Clip, ClipScorer
from palate.score.open_clip import clip_from_open_clip
from palate.score.pickscore import PROCESSOR
from palate.score.pixels import normalized, padded

if TYPE_CHECKING:
    from torch import Tensor

REPOSITORY = "xswu/HPSv2"
FILES = {"v2.1": "HPS_v2.1_compressed.pt", "v2": "HPS_v2_compressed.pt"}
PUBLISHED = "published"
HEADS = 16
"""Attention heads of both encoders of CLIP-H/14."""


class HpsClip(Clip):
    """The CLIP of an HPS checkpoint: its longest side is resized to 224 pixels, and black is added around the other.

    Args:
        file: the checkpoint, in open_clip's names.
        antialias: whether images that become smaller are smoothed. The authors' published numbers are without.

    Raises:
        InputError: the checkpoint or the tokenizer cannot be read.
    """

    def __init__(self, file: Path, antialias: bool = True) -> None:
        tensors = read_weights(file)
        self._tokenizer: Any = find_tokenizer(PROCESSOR, "HPS")
        eos = self._tokenizer.eos_token_id
        self.network: Any = clip_from_open_clip(file, tensors, HEADS, HEADS, eos)
        self._padded, self._antialias = "longest", antialias
        self._longest = self.network.config.text_config.max_position_embeddings
        self.width = self.network.config.projection_dim

    def fingerprint(self) -> str:
        """See `Clip`."""
        return state_digest(self.network.state_dict(), self._antialias, self._longest)

    def pixels(self, images: Images) -> Tensor:
        """See `Clip`."""
        side = self.network.config.vision_config.image_size
        return normalized(padded(images, side, self._antialias))


class Hpsv2Scorer(ClipScorer):
    """`cos(image, text)`.

    Args:
        version: `v2.1` or `v2`, whose weights are downloaded, or the path of a checkpoint; each may be followed by
            `-published`, which resizes images without antialiasing, as the published numbers were made.
        device: the best one when left out.

    Raises:
        InputError: there is no such version or file, or it cannot be read.

    Reference: Wu et al. 2023 (arXiv:2306.09341), section 4; github.com/tgxs002/HPSv2.
    """

    facts = ScorerFacts(
        title="which image people prefer for a prompt (HPD v2)",
        values="about 0.2 to 0.35; papers print it times 100",
        licence="Apache-2.0",
        size="0.99 billion parameters, 1.97 GB",
        source="Wu et al. 2023, arXiv:2306.09341",
    )
    family = "hpsv2"

    def load(self, version: str) -> Clip:
        """See `ClipScorer`."""
        name = version.removesuffix(f"-{PUBLISHED}")
        antialias = name == version
        if name not in FILES and not Path(name).expanduser().is_file():
            choices = f"{', '.join(FILES)} or the path of a checkpoint, with or without -{PUBLISHED}"
            raise InputError(f"HPS has no version {version!r}; choose from {choices}")
        file = find_weights(REPOSITORY, FILES[name]) if name in FILES else Path(name).expanduser()
        return HpsClip(file, antialias)

    def combine(self, image: Tensor, text: Tensor) -> Tensor:
        """See `ClipScorer`."""
        return torch.sum(image * text, -1)
