"""Vision-language models as scorers: VQAScore, `vqa:<model>`, and UnifiedReward, `unifiedreward:<model>`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from palate.core.errors import InputError
from palate.core.plugins import ScorerFacts
from palate.models.vision_language import VisionLanguageModel
from palate.records.decode import rgb
from palate.score.base import Images, state_digest, to_images

if TYPE_CHECKING:
    from torch import Tensor

QUESTION = 'Does this figure show "{}"? Please answer yes or no.'
"""VQAScore's question, section 3."""
ANSWER = "Yes"
RATING = (
    'Rate this image, which was generated for the caption "{}": how well it agrees with the caption, and how good it '
    "looks. Answer with one number from 1 (bad) to 5 (perfect) after the words Final Score:"
)
"""Our own question, of the kind that UnifiedReward was trained on; the authors' is longer and asks for parts first."""
SCORE = re.compile(r"(?:Final Score|Score)[^0-9\-]{0,12}(\d+(?:\.\d+)?)", re.IGNORECASE)
LOWEST, HIGHEST = 1.0, 5.0
TOKENS = 512
"""Largest length of an answer, which may explain itself before the score."""


class VqaScorer:
    """The probability that a model answers "Yes" when it is asked whether the image shows the prompt.

    Args:
        model: a folder or hub id of an image-text-to-text model with its processor.
        device: the best one when left out.

    Raises:
        InputError: there is no such model.

    Reference: Lin et al. 2024 (arXiv:2404.01291), equation 1.
    """

    facts = ScorerFacts(
        title="agreement of image and prompt, as a vision-language model answers (VQAScore)",
        values="0 to 1",
        licence="that of the model",
        size="that of the model (LLaVA 1.5: 7 billion parameters, 14 GB)",
        source="Lin et al. 2024, arXiv:2404.01291",
    )
    higher_is_better = True
    differentiable = False
    reads_prompt = True

    def __init__(self, model: str, device: str | None = None) -> None:
        self.name, self._model = f"vqa:{model}", _loaded("vqa", model, device)

    def fingerprint(self) -> str:
        """The hub's commit, or else a digest of the weights; see `Scorer`."""
        return _fingerprint(self._model, QUESTION, ANSWER)

    def __call__(self, images: Images, prompts: Sequence[str]) -> Tensor:
        """Scores [B]; see `Scorer`."""
        texts = [self._model.formatted(QUESTION.format(prompt)) for prompt in prompts]
        pictures = [rgb(image) for image in to_images(images)]
        return self._model.first_token(pictures, texts)[:, self._model.token_of(ANSWER)].exp().cpu()


class UnifiedRewardScorer:
    """The rating from 1 to 5 that a reward model writes after "Final Score:".

    Args:
        model: a folder or hub id, such as CodeGoat24/UnifiedReward-qwen-7b, which may be followed by `@` and a text
            file with the question to ask, in which `{}` stands for the prompt; without one the question is `RATING`.
        device: the best one when left out.

    Raises:
        InputError: there is no such model or file; when scoring, an answer has no rating.

    Reference: Wang et al. 2025 (arXiv:2503.05236), section 3.
    """

    facts = ScorerFacts(
        title="rating of image and prompt that a vision-language reward model writes (UnifiedReward)",
        values="1 to 5",
        licence="that of the model (UnifiedReward: MIT)",
        size="that of the model (7 billion parameters: 15 GB)",
        source="Wang et al. 2025, arXiv:2503.05236",
    )
    higher_is_better = True
    differentiable = False
    reads_prompt = True

    def __init__(self, model: str, device: str | None = None) -> None:
        name, _, file = model.partition("@")
        self._question = _read_question(Path(file).expanduser()) if file else RATING
        self.name, self._model = f"unifiedreward:{model}", _loaded("unifiedreward", name, device)

    def fingerprint(self) -> str:
        """The hub's commit, or else a digest of the weights, and the question; see `Scorer`."""
        return _fingerprint(self._model, self._question, TOKENS)

    def __call__(self, images: Images, prompts: Sequence[str]) -> Tensor:
        """Scores [B]; see `Scorer`."""
        texts = [self._model.formatted(self._question.replace("{}", prompt)) for prompt in prompts]
        answers = self._model.answers([rgb(image) for image in to_images(images)], texts, TOKENS)
        return torch.tensor([rating(answer, prompt) for answer, prompt in zip(answers, prompts, strict=True)])


def rating(answer: str, prompt: str) -> float:
    """The last rating that an answer gives.

    Raises:
        InputError: it gives none from 1 to 5.
    """
    found = [float(each) for each in SCORE.findall(answer)]
    if not found or not LOWEST <= found[-1] <= HIGHEST:
        shown = " ".join(answer.split())[:80]
        raise InputError(f"the model rates the image of {prompt!r} with no number from 1 to 5: {shown!r}")
    return found[-1]


def _loaded(family: str, model: str, device: str | None) -> VisionLanguageModel:
    try:
        return VisionLanguageModel(model, device)
    except ValueError as error:
        fix = "give a folder or hub id of an image-text-to-text model with safetensors weights"
        raise InputError(f"cannot load the model {model!r} of the scorer {family}: {error}; {fix}") from error


def _fingerprint(model: VisionLanguageModel, *asked: object) -> str:
    network = model.network
    weights = getattr(network.config, "_commit_hash", None) or state_digest(network.state_dict())
    return state_digest({}, weights, asked)


def _read_question(path: Path) -> str:
    try:
        question = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read the question in {path}: {error}; name a text file") from error
    if "{}" not in question:
        raise InputError(f"the question in {path} has no {{}} where the prompt belongs; add it")
    return question
