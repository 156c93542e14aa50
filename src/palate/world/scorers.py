"""The judges of the tiny world as scorers, such as `teacher:utility` and `auditor:faithful`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal
from weakref import WeakValueDictionary

import torch

from palate.core.device import pick_device
from palate.core.errors import InputError, nearest
from palate.score.base import Images, state_digest, to_tensor
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
"""The measures of a judge. `faithful` and the attributes are 1 if right, 0 if wrong; `unsafe` is a probability."""


class WorldScorer:
    """One measure of one judge.

    Raises:
        InputError: there is no such measure.
    """

    differentiable = False  # a judge's answers are discrete decisions

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
        self._reader = find_reader(judge, pick_device(device))

    def fingerprint(self) -> str:
        """A digest of the judge's weights; see `Scorer`."""
        return state_digest(self._reader.network.state_dict(), self.name)

    def __call__(self, images: Images, prompts: Sequence[str]) -> Tensor:
        """Scores [B]; see `Scorer`."""
        pixels = to_tensor(images)
        if pixels.shape[-2:] != (SIZE, SIZE):
            height, width = pixels.shape[-2:]
            raise InputError(
                f"{self.name} reads {SIZE} x {SIZE} pictures of the tiny world, not {width} x {height}; "
                "score others with clip:<model>"
            )
        return self._measure(self._reader(pixels), prompts).to("cpu", torch.float32)


class Reader:
    """Reads images with a judge; the last readings are kept, so that the same images are not computed twice.

    Args:
        judge: teacher or auditor.
        device: the device of its network.
    """

    def __init__(self, judge: Literal["teacher", "auditor"], device: str) -> None:
        self.network, self._device = load_judge(judge).to(device), device
        self._last: tuple[Tensor, Readings] | None = None

    def __call__(self, pixels: Tensor) -> Readings:
        """Readings of images [B, 3, 64, 64], on the CPU."""
        if self._last is None or not torch.equal(self._last[0], pixels):
            self._last = pixels.clone(), self.network.read(pixels.to(self._device)).cpu()
        return self._last[1]


def find_reader(judge: Literal["teacher", "auditor"], device: str) -> Reader:
    """The reader of a judge on a device, which all measures share: eight measures need one pass and one network."""
    reader = _readers.get((judge, device))
    if reader is None:
        _readers[judge, device] = reader = Reader(judge, device)
    return reader


_readers: WeakValueDictionary[tuple[str, str], Reader] = WeakValueDictionary()
