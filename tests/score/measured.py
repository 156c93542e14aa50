"""Scorers that read a number from an image and count their calls, as families of their own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from weakref import WeakValueDictionary

import pytest
import torch
from PIL import Image

from palate.core.plugins import ScorerFamily
from palate.score import load


class Channel:
    """The value 0..255 of a channel of the first pixel, R, G or B; `calls` has the number of images of each call."""

    differentiable = False

    def __init__(self, channel: str, calls: list[int], **changes: Any) -> None:
        self.name, self.place, self.calls = f"channel:{channel}", "RGB".index(channel), calls
        self.higher_is_better, self.reads_prompt, self.print = True, False, channel
        vars(self).update(changes)

    def fingerprint(self) -> str:
        return self.print

    def __call__(self, images: Any, prompts: Sequence[str]) -> torch.Tensor:
        self.calls.append(len(images))
        return torch.tensor([float(image.getpixel((0, 0))[self.place]) for image in images])


Change = Callable[..., list[int]]


@pytest.fixture
def channels(monkeypatch: pytest.MonkeyPatch) -> Change:
    """Adds the families red, green and blue; called with changes of their attributes, it returns their calls."""

    def add(**changes: Any) -> list[int]:
        calls: list[int] = []

        def family(channel: str) -> ScorerFamily:
            def make(argument: str, device: str) -> Channel:
                return Channel(channel, calls, **{"name": f"{names[channel]}:{argument}"} | changes)

            return ScorerFamily(make, f"{names[channel]}:x", facts=None)

        monkeypatch.setattr(load, "_in_use", WeakValueDictionary())
        names = {"R": "red", "G": "green", "B": "blue"}
        for channel, name in names.items():
            monkeypatch.setitem(load.BUILT_IN, name, family(channel))
        return calls

    return add


def pixels(*colours: tuple[int, int, int]) -> list[Image.Image]:
    """Images of one colour each."""
    return [Image.new("RGB", (4, 4), colour) for colour in colours]
