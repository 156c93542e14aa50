"""CLIPScore: how well an image agrees with a caption, without a reference caption: `clipscore`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from palate.core.plugins import ScorerFacts
from palate.score.base import Images
from palate.score.clip import ClipScorer

if TYPE_CHECKING:
    from torch import Tensor

MODEL = "openai/clip-vit-base-patch32"
PREFIX = "A photo depicts "
WEIGHT = 2.5
"""The paper's w, section 3."""


class ClipScoreScorer(ClipScorer):
    """`2.5 max(cos(image, text), 0)`, the text being the prompt after `PREFIX`.

    Args:
        model: the published values are those of `MODEL`; see `Clip` for others.
        device: the best one when left out.

    Raises:
        InputError: there is no such model.

    Reference: Hessel et al. 2021 (arXiv:2104.08718), section 3.
    """

    facts = ScorerFacts(
        title="agreement of image and prompt (CLIPScore)",
        values="0 to 2.5; about 0.6 to 0.9 where they agree",
        licence="MIT (OpenAI's CLIP)",
        size="0.15 billion parameters, 0.6 GB",
        source="Hessel et al. 2021, arXiv:2104.08718",
    )
    family = "clipscore"

    def __call__(self, images: Images, prompts: Sequence[str]) -> Tensor:
        """Scores [B]; see `Scorer`."""
        return super().__call__(images, [f"{PREFIX}{prompt}" for prompt in prompts])

    def combine(self, image: Tensor, text: Tensor) -> Tensor:
        """See `ClipScorer`."""
        return WEIGHT * (image * text).sum(-1).clamp(min=0)
