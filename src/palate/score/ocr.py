"""Text in the picture: whether an image shows the text that its prompt asks for in quotes: `ocr`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from palate.core.errors import InputError
from palate.core.plugins import ScorerFacts
from palate.records.decode import rgb
from palate.score.base import Images, require_package, to_images

if TYPE_CHECKING:
    from torch import Tensor

PACKAGE = "rapidocr-onnxruntime"
QUOTED = "quoted"
QUOTES = re.compile(r"\"([^\"]+)\"|“([^”]+)”|‘([^’]+)’|«([^»]+)»|(?<!\w)'([^']+)'(?!\w)")
"""Text in quotes of several kinds; an apostrophe inside a word is not one."""


class OcrScorer:
    """`1 - min(d, n) / n` of the text in the picture, d being its distance from the n characters asked for.

    The distance is the smallest edit distance of the asked text from any part of what was read; upper and lower case
    and spaces are ignored. The prompt's texts in quotes are asked for, one after the other.

    Args:
        what: `quoted`.
        device: not used: onnxruntime runs it on the CPU.

    Raises:
        InputError: the package is not installed, or `what` is unknown; when scoring, a prompt has no text in quotes.

    Reference: Liu et al. 2025 (Flow-GRPO, arXiv:2505.05470), section 5.1 (the reward of visual text rendering), with
    the distance of a part, so that other text in the picture does not count against it.
    """

    facts = ScorerFacts(
        title="how much of the text in quotes of the prompt can be read in the picture",
        values="0 to 1; 1 is all of it",
        licence="Apache-2.0 (PaddleOCR's weights, in the package)",
        size="15 MB, in the package",
        source="Liu et al. 2025, arXiv:2505.05470",
        needs={"rapidocr_onnxruntime": PACKAGE},
    )
    higher_is_better = True
    differentiable = False
    reads_prompt = True

    def __init__(self, what: str, device: str | None = None) -> None:
        if what != QUOTED:
            raise InputError(f"the scorer ocr reads the text that is {QUOTED!r} in a prompt, not {what!r}")
        require_package("ocr", "rapidocr_onnxruntime", PACKAGE)
        from rapidocr_onnxruntime import RapidOCR  # type: ignore[import-not-found]

        self.name, self._reader = f"ocr:{what}", RapidOCR()

    def fingerprint(self) -> str:
        """The version of the package, which has the weights; see `Scorer`."""
        from importlib.metadata import version

        return f"{PACKAGE} {version(PACKAGE)}"

    def __call__(self, images: Images, prompts: Sequence[str]) -> Tensor:
        """Scores [B]; see `Scorer`."""
        asked = [asked_text(prompt) for prompt in prompts]
        read = [self._read(np.asarray(rgb(image))) for image in to_images(images)]
        return torch.tensor([_share_read(text, found) for text, found in zip(asked, read, strict=True)])

    def _read(self, pixels: np.ndarray) -> str:
        """All text in an image [H, W, 3], from top to bottom."""
        found: Any = self._reader(np.ascontiguousarray(pixels[:, :, ::-1]))[0] or []  # it takes blue first
        return "".join(line[1] for line in found)


def asked_text(prompt: str) -> str:
    """The texts in quotes of a prompt, joined.

    Raises:
        InputError: there is none.
    """
    texts = ["".join(groups) for groups in QUOTES.findall(prompt)]
    if not _plain("".join(texts)):
        raise InputError(f"the prompt {prompt!r} has no text in quotes, which the scorer ocr looks for in its image")
    return "".join(texts)


def _share_read(asked: str, found: str) -> float:
    wanted = _plain(asked)
    return 1 - min(distance_of_part(wanted, _plain(found)), len(wanted)) / len(wanted)


@lru_cache(1024)
def distance_of_part(wanted: str, found: str) -> int:
    """The smallest edit distance of a text from any part of another (Sellers 1980, J. Algorithms 1)."""
    before = [0] * (len(found) + 1)  # a part may begin anywhere
    for i, letter in enumerate(wanted, 1):
        now = [i]
        for j, other in enumerate(found, 1):
            now.append(min(before[j] + 1, now[j - 1] + 1, before[j - 1] + (letter != other)))
        before = now
    return min(before)


def _plain(text: str) -> str:
    return "".join(text.split()).casefold()
