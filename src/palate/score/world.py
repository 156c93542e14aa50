"""The judges of the tiny world as scorers: `teacher:utility`, `auditor:faithful` and so on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Literal

import torch

from palate.core.errors import InputError, nearest
from palate.score.base import Images, to_tensor
from palate.world.judges import ATTRIBUTES, Readings, attributes, faithful, load_judge, utility
from palate.world.renderer import SIZE

if TYPE_CHECKING:
    from torch import Tensor

MEASURES: dict[str, Callable[[Readings, Sequence[str]], Tensor]] = {
    "utility": utility,
    "faithful": faithful,
    "appeal": lambda readings, prompts: readings.appeal,
    **{name: lambda readings, prompts, name=name: attributes(readings, prompts)[name] for name in ATTRIBUTES},
    "unsafe": lambda readings, prompts: readings.unsafe,
}
"""What a judge is asked. `faithful` and the attributes are 1 where right, 0 where wrong; `unsafe` is a probability."""


class WorldScorer:
    """One measure of one judge.

    Raises:
        InputError: no such measure.
    """

    differentiable = False  # a judge's answers are decisions

    def __init__(self, judge: Literal["teacher", "auditor"], measure: str, device: str | None = None) -> None:
        if measure not in MEASURES:
            choices = ", ".join(MEASURES)
            raise InputError(
                f"the {judge} has no measure {measure!r}{nearest(measure, MEASURES)}; choose from {choices}"
            )
        self.name = f"{judge}:{measure}"
        self.higher_is_better = measure != "unsafe"
        self.reads_prompt = measure not in ("appeal", "unsafe")
        self._measure = MEASURES[measure]
        self._read = reader(judge, device or "cpu")

    def __call__(self, images: Images, prompts: Sequence[str]) -> Tensor:
        """Scores [B]; see `Scorer`."""
        pixels = to_tensor(images)
        if pixels.shape[-2:] != (SIZE, SIZE):
            height, width = pixels.shape[-2:]
            raise InputError(
                f"{self.name} reads {SIZE} x {SIZE} pictures of the tiny world, not {width} x {height}; "
                "score others with clip:<model>"
            )
        return self._measure(self._read(pixels), prompts).to("cpu", torch.float32)


@cache
def reader(judge: Literal["teacher", "auditor"], device: str) -> Callable[[Tensor], Readings]:
    """A judge's eyes: images [B, 3, 64, 64] to readings, without looking twice when the same images come again.

    The measures of one judge share it, so that asking for eight of them costs one look.
    """
    network = load_judge(judge).to(device)
    last: tuple[Tensor, Readings] | None = None

    def read(pixels: Tensor) -> Readings:
        nonlocal last
        if last is None or not torch.equal(last[0], pixels):
            last = pixels.clone(), network.read(pixels.to(device))
        return last[1]

    return read
