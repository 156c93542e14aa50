"""VQAScore and UnifiedReward on a random LLaVA: the probability of its own answer, and the number that it writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from caption.llava import random_llava
from PIL import Image
from transformers import AutoProcessor, LlavaForConditionalGeneration

from palate.core.errors import InputError
from palate.score import vqa
from palate.score.load import load_scorer
from palate.score.vqa import rating

PROMPTS = ["a red star", "a green circle on the cat", "a cat"]


@pytest.fixture(scope="module")
def llava(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_llava(tmp_path_factory.mktemp("llava"))


@pytest.fixture(scope="module")
def photographs() -> list[Image.Image]:
    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(0, 256, (40 + 8 * i, 60, 3), dtype=np.uint8)) for i in range(3)]


@pytest.mark.shows("vqa", "formula")
def test_vqascore_is_the_probability_of_the_answer_after_the_question(
    llava: Path, photographs: list[Image.Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vqa, "ANSWER", "star")  # the random model knows few words, and not "Yes"
    model: Any = LlavaForConditionalGeneration.from_pretrained(llava)
    processor: Any = AutoProcessor.from_pretrained(llava)
    expected = []
    for image, prompt in zip(photographs, PROMPTS):
        question = f'Does this figure show "{prompt}"? Please answer yes or no.'
        asked = processor(text=f"USER: <image>\n{question} ASSISTANT:", images=image, return_tensors="pt")
        with torch.no_grad():
            chances = model(**asked).logits[0, -1].softmax(-1)
        expected.append(chances[processor.tokenizer.convert_tokens_to_ids("star")])
    scores = load_scorer(f"vqa:{llava}")(photographs, PROMPTS)
    torch.testing.assert_close(scores, torch.stack(expected), atol=1e-5, rtol=1e-4)
    assert len(set(scores.tolist())) == 3 and 0 < scores.min() and scores.max() < 1


def test_unifiedreward_asks_its_question_with_the_prompt_and_reads_the_number(
    llava: Path, photographs: list[Image.Image], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[str] = []
    (tmp_path / "question.txt").write_text("How good is it for {}?\n")

    def answers(self: Any, images: Any, texts: list[str], longest: int) -> list[str]:
        asked.extend(texts)
        return [f"1. Alignment: 3\nFinal Score: {number + 2}.5" for number in range(len(images))]

    monkeypatch.setattr("palate.models.vision_language.VisionLanguageModel.answers", answers)
    scorer = load_scorer(f"unifiedreward:{llava}@{tmp_path}/question.txt")
    assert scorer(photographs, PROMPTS).tolist() == [2.5, 3.5, 4.5]
    assert asked[1] == "USER: <image>\nHow good is it for a green circle on the cat? ASSISTANT:"
    plain = load_scorer(f"unifiedreward:{llava}")
    assert plain.fingerprint() != scorer.fingerprint()


@pytest.mark.parametrize(
    "answer, number",
    [
        ("Final Score: 4", 4.0),
        ("**Final Score:** 3.75", 3.75),
        ("red (color): 1\nstar (object): 0\nFinal Score: 2", 2.0),
        ("Alignment Score (1-5): 4.2\nStyle Score: 3", 3.0),
        ("I give it a score of 5.", 5.0),
    ],
)
@pytest.mark.shows("unifiedreward", "formula")
def test_a_rating_is_the_last_number_that_is_called_a_score(answer: str, number: float) -> None:
    assert rating(answer, "a cat") == number


@pytest.mark.parametrize("answer", ["", "very good", "Final Score: 7", "Final Score: 0", "4"])
def test_an_answer_without_a_rating_is_one_clear_error(answer: str) -> None:
    with pytest.raises(InputError, match=r"^the model rates the image of 'a cat' with no number from 1 to 5: '.*'$"):
        rating(answer, "a cat")


@pytest.mark.parametrize("family", ["vqa", "unifiedreward"])
def test_a_model_that_is_none_is_refused_in_one_line(family: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"cannot load the model '{tmp_path}' of the scorer {family}: .*; give"):
        load_scorer(f"{family}:{tmp_path}")


def test_a_question_without_a_place_for_the_prompt_is_refused(llava: Path, tmp_path: Path) -> None:
    (tmp_path / "question.txt").write_text("How good is it?")
    with pytest.raises(InputError, match="has no {} where the prompt belongs"):
        load_scorer(f"unifiedreward:{llava}@{tmp_path}/question.txt")
    with pytest.raises(InputError, match="cannot read the question"):
        load_scorer(f"unifiedreward:{llava}@{tmp_path}/none.txt")
