"""The teacher captions what a render shows, or writes no caption; a LLaVA decodes greedily, in any batch."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from caption.llava import TEMPLATE, random_llava, word_tokenizer
from PIL import Image
from transformers import AutoProcessor, LlavaForConditionalGeneration

from palate.caption import captioner
from palate.caption.captioner import load_captioner
from palate.core.errors import InputError
from palate.core.seeds import numpy_generator
from palate.world.grammar import UNSAFE, WorldCombination, combinations
from palate.world.judges import Readings
from palate.world.renderer import render_scenes, scene

QUESTION, TOKENS = "What is it ?", 12


def pictures(*shown: WorldCombination) -> list[Image.Image]:
    pixels = render_scenes([scene(each, numpy_generator(0, "caption-test", each.caption())) for each in shown])
    return [Image.fromarray(each.numpy()) for each in (pixels.permute(0, 2, 3, 1) * 255).round().byte()]


@pytest.fixture(scope="module")
def llava(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_llava(tmp_path_factory.mktemp("llava"))


@pytest.fixture(scope="module")
def photographs() -> list[Image.Image]:
    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(0, 256, (40 + 8 * i, 60, 3), dtype=np.uint8)) for i in range(4)]


def test_the_teacher_captions_a_clean_render_correctly() -> None:
    shown = [*combinations()[::7], WorldCombination(2, "white", UNSAFE, "blue")]
    assert load_captioner("teacher")(pictures(*shown)) == [each.caption() for each in shown]


def test_the_teacher_writes_no_caption_for_a_picture_of_another_size() -> None:
    (sound,) = pictures(WorldCombination(3, "red", "star", "blue"))
    said = load_captioner("teacher")([sound.resize((32, 32)), sound, Image.new("RGB", (64, 65))])
    assert said == ["", "three red stars on a blue background", ""]
    assert load_captioner("teacher")([sound.resize((32, 32))]) == [""]


@pytest.mark.parametrize(
    "answers",
    [
        (None, "red", "star", "blue"),
        (1, None, "star", "blue"),
        (1, "red", None, "blue"),
        (1, "red", "star", None),
        (1, "red", "star", "red"),  # which no picture of the world shows
    ],
)
def test_the_teacher_writes_no_caption_for_an_attribute_without_a_name(
    monkeypatch: pytest.MonkeyPatch, answers: tuple
) -> None:
    count, colour, shape, background = ((answer,) for answer in answers)
    readings = Readings(count, colour, shape, background, torch.zeros(1), torch.ones(1))
    monkeypatch.setattr("palate.world.teacher_captioner.find_reader", lambda judge, device: lambda images: readings)
    assert load_captioner("teacher")([Image.new("RGB", (64, 64))]) == [""]


def test_a_llava_decodes_greedily(llava: Path, photographs: list[Image.Image]) -> None:
    model, processor = LlavaForConditionalGeneration.from_pretrained(llava), AutoProcessor.from_pretrained(llava)
    expected = []
    for image in photographs:
        asked = processor(text=f"USER: <image>\n{QUESTION} ASSISTANT:", images=image, return_tensors="pt")
        ids, answer = asked["input_ids"], []
        while len(answer) < TOKENS and answer[-1:] != [processor.tokenizer.eos_token_id]:
            with torch.no_grad():
                logits = model(input_ids=ids, pixel_values=asked["pixel_values"]).logits
            answer.append(int(logits[0, -1].argmax()))
            ids = torch.cat([ids, torch.tensor([[answer[-1]]])], 1)
        expected.append(processor.tokenizer.decode(answer, skip_special_tokens=True))
    assert len(set(expected)) == len(expected)  # so it looks at the image
    assert load_captioner(str(llava), QUESTION, TOKENS)(photographs) == expected


def test_a_caption_does_not_depend_on_its_batch(llava: Path, photographs: list[Image.Image]) -> None:
    caption = load_captioner(str(llava), QUESTION, TOKENS)
    assert caption(photographs) == [caption([image])[0] for image in photographs]


def test_the_question_and_the_length_limit_are_used(llava: Path, photographs: list[Image.Image]) -> None:
    long, short, other = (
        load_captioner(str(llava), *asked)(photographs)
        for asked in ((QUESTION, TOKENS), (QUESTION, 3), ("the cat is on it .", TOKENS))
    )
    assert [text.split()[:3] for text in long] == [text.split() for text in short]
    assert long != other


@pytest.mark.parametrize(
    "template, expected",
    [
        (TEMPLATE, "<s> USER : <image> What is it <unk> ASSISTANT :"),
        ("{{ bos_token }}" + TEMPLATE, "<s> USER : <image> What is it <unk> ASSISTANT :"),
        (None, "<s> <image> What is it <unk>"),
    ],
    ids=["template", "template that begins the text", "no template"],
)
def test_the_question_is_formatted_by_the_model_s_chat_template(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, template: str | None, expected: str
) -> None:
    caption, asked = load_captioner(str(random_llava(tmp_path, template)), QUESTION, 1), []
    network, tokenizer = caption._model.network, caption._model.processor.tokenizer

    def remember(**inputs):
        asked.extend(tokenizer.batch_decode(inputs["input_ids"]))
        return inputs["input_ids"]

    monkeypatch.setattr(network, "generate", remember)
    assert caption([Image.new("RGB", (40, 40))]) == [""]  # the question is no part of the answer
    assert (
        " ".join(asked[0].replace("<image>" * 16, "<image>").replace("<image> " * 16, "<image> ").split()) == expected
    )


def _pickled(llava: Path) -> None:
    (llava / "model.safetensors").unlink()
    torch.save({}, llava / "pytorch_model.bin")


def _cut_short(llava: Path) -> None:
    weights = llava / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])


def _of_no_kind(llava: Path) -> None:
    (llava / "config.json").write_text(json.dumps({"model_type": "unheard-of"}))


def _clip(llava: Path) -> None:
    shutil.copytree(Path(captioner.__file__).parents[1] / "weights/tiny-clip", llava, dirs_exist_ok=True)


def _no_processor(llava: Path) -> None:
    for name in ("processor_config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        (llava / name).unlink()


@pytest.mark.parametrize("spoil", [_pickled, _cut_short, _of_no_kind, _clip, _no_processor])
def test_a_model_that_cannot_caption_is_one_clear_error(llava: Path, tmp_path: Path, spoil) -> None:
    folder = tmp_path / "model"
    shutil.copytree(llava, folder)
    spoil(folder)
    with pytest.raises(
        InputError, match=f"^cannot load the captioner '{folder}'[^\n]*; give a folder or hub id [^\n]* or teacher$"
    ):
        load_captioner(str(folder))


def test_a_tokenizer_alone_is_not_a_processor(tmp_path: Path) -> None:
    word_tokenizer().save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(InputError, match="no processor of images and text, only a .*Tokenizer.*; give a folder or"):
        load_captioner(str(tmp_path))


def test_an_unknown_captioner_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(InputError, match="cannot load the captioner 'teachr'; did you mean 'teacher'"):
        load_captioner("teachr")
