"""PickScore: CLIP-H/14 trained on the choices of Pick-a-Pic's users: `pickscore`."""

from __future__ import annotations

from palate.core.plugins import ScorerFacts
from palate.score.clip import Clip, ClipScorer

MODEL = "yuvalkirstain/PickScore_v1"
PROCESSOR = "laion/CLIP-ViT-H-14-laion2B-s32B-b79K"
"""Its tokenizer and preprocessing, as its authors load them: the shortest side to 224 pixels, bicubic, and a crop of
the centre; 77 tokens, and no text around the prompt."""


class PickScore(ClipScorer):
    """`exp(logit_scale) cos(image, text)`; `sigmoid(s_a - s_b)` is the probability that a is preferred to b.

    Args:
        model: `MODEL`, or a folder or hub id of a CLIP that was trained likewise, with its own preprocessing.
        device: the best one when left out.

    Raises:
        InputError: there is no such model.

    Reference: Kirstain et al. 2023 (arXiv:2305.01569), equation 1.
    """

    facts = ScorerFacts(
        title="which image people prefer for a prompt (Pick-a-Pic)",
        values="about 17 to 25; a difference of 1 is a probability of 73% of being preferred",
        licence="MIT",
        size="0.99 billion parameters, 3.9 GB",
        source="Kirstain et al. 2023, arXiv:2305.01569",
    )
    family = "pickscore"

    def load(self, model: str) -> Clip:
        """See `ClipScorer`."""
        return Clip(PROCESSOR, weights=MODEL) if model == MODEL else Clip(model)
