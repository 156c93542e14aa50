"""The tiny world's captioner: writes what the teacher recognises in a picture as a caption of the world."""

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
    """Writes captions from what the teacher recognises in a picture; a `caption.captioner.Captioner`.

    A picture gets no caption if it is not 64 x 64, or if the teacher cannot name its count, colour, shape or
    background.
    """

    no_caption_reason = (
        f"the teacher cannot name what it shows, or it is not a {SIZE} x {SIZE} picture of the tiny world; "
        "remove it from the folder, or give another captioner"
    )

    def __init__(self, device: str) -> None:
        self._read = find_reader("teacher", device)

    def fingerprint(self) -> str:
        """A digest of the teacher's weights; see `Captioner`."""
        return state_digest(self._read.network.state_dict())

    def __call__(self, images: Sequence[Image.Image]) -> list[str]:
        """Captions such as `three red stars on a blue background`; see `Captioner`."""
        captions = [""] * len(images)
        if fit := [i for i, image in enumerate(images) if image.size == (SIZE, SIZE)]:
            seen = self._read(to_tensor([images[i] for i in fit]))
            for i, count, colour, shape, background in zip(fit, seen.count, seen.colour, seen.shape, seen.background):
                captions[i] = _caption(count, colour, shape, background)
        return captions


def _caption(count: int | None, colour: str | None, shape: str | None, background: str | None) -> str:
    """The caption; "" if an answer is "none of these", or if the world has no picture with this combination."""
    if count is None or colour is None or shape is None or background in (None, colour):
        return ""
    return WorldCombination(count, colour, shape, background).caption()
