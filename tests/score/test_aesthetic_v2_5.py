"""Aesthetic predictor v2.5 through a stand-in of the package's interface, which is the user's own install."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from palate.core.errors import InputError
from palate.score.load import load_scorer


class Stub(torch.nn.Module):
    """Rates an image by its brightness, as the package's model would: an output with `logits` [B, 1]."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = torch.nn.Parameter(torch.tensor(10.0))

    def forward(self, pixels: torch.Tensor) -> Any:
        return SimpleNamespace(logits=self.factor * pixels.mean((1, 2, 3))[:, None])


def processor(images: list[Image.Image], return_tensors: str) -> Any:
    pixels = torch.stack([torch.from_numpy(np.array(each)).permute(2, 0, 1).float() / 255 for each in images])
    return SimpleNamespace(pixel_values=pixels)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the package is asked to load."""
    calls: list[dict[str, Any]] = []
    package = ModuleType("aesthetic_predictor_v2_5")

    def convert(**options: Any) -> tuple[Any, Any]:
        calls.append(options)
        return Stub(), processor

    package.convert_v2_5_from_siglip = convert  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, package.__name__, package)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    return calls


def test_the_packages_model_rates_the_images(asked: list[dict[str, Any]]) -> None:
    images = [Image.new("RGB", (8, 8), (51, 51, 51)), Image.new("RGB", (8, 8), (204, 204, 204))]
    scorer = load_scorer("aesthetic_v2_5", "cpu")
    assert scorer(images, ["", ""]).tolist() == pytest.approx([2.0, 8.0])
    assert not scorer.reads_prompt and scorer.name == "aesthetic_v2_5"
    assert asked == [{"predictor_name_or_path": None, "encoder_model_name": "google/siglip-so400m-patch14-384"}]


def test_the_head_may_be_a_file_and_the_encoder_a_folder(asked: list[dict[str, Any]]) -> None:
    load_scorer("aesthetic_v2_5:models/siglip@head.pth", "cpu")
    assert asked == [{"predictor_name_or_path": "head.pth", "encoder_model_name": "models/siglip"}]


def test_what_to_install_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match="not installed: pip install aesthetic-predictor-v2-5"):
        load_scorer("aesthetic_v2_5", "cpu")


def test_a_package_that_cannot_load_its_model_is_one_line(asked: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(**options: Any) -> Any:
        raise OSError("no connection\nand much more")

    monkeypatch.setattr(sys.modules["aesthetic_predictor_v2_5"], "convert_v2_5_from_siglip", broken)
    with pytest.raises(InputError, match="cannot load aesthetic_v2_5: no connection; fetch .* after @"):
        load_scorer("aesthetic_v2_5:other", "cpu")
