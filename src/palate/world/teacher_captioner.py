"""The tiny world's captioner: what the teacher reads in a picture, in the world's grammar."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from palate.score.base import state_digest, to_tensor
from palate.world.grammar import WorldCombination
from palate.world.renderer import SIZE
from palate.world.scorers import find_reader

if TYPE_CHECKING:
    from PIL import Image


class TeacherCaptioner:
    """What the teacher reads in a picture, a `caption.captioner.Captioner`.

    Of a picture that is not 64 x 64, or in which the teacher finds no name for the count, colour, shape or background,
    it says nothing.
    """

    no_caption_reason = (
        f"the teacher has no name for what it shows, or it is no {SIZE} x {SIZE} picture of the tiny world; "
        "take it out of the folder, or name another captioner"
    )

    def __init__(self, device: str) -> None:
        self._read = find_reader("teacher", device)

    def fingerprint(self) -> str:
        """Of the teacher's weights; see `Captioner`."""
        return state_digest(self._read.network.state_dict())

    def __call__(self, images: Sequence[Image.Image]) -> list[str]:
        """Such as `three red stars on a blue background`; see `Captioner`."""
        captions = [""] * len(images)
        if fit := [i for i, image in enumerate(images) if image.size == (SIZE, SIZE)]:
            seen = self._read(to_tensor([images[i] for i in fit]))
            for i, count, colour, shape, background in zip(fit, seen.count, seen.colour, seen.shape, seen.background):
                captions[i] = _said(count, colour, shape, background)
        return captions


def _said(count: int | None, colour: str | None, shape: str | None, background: str | None) -> str:
    """The caption, or "" where an answer is "none of these" or no picture of the world has these together."""
    if count is None or colour is None or shape is None or background in (None, colour):
        return ""
    return WorldCombination(count, colour, shape, background).caption()
