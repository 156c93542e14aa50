"""Prompts that a text encoder cuts off are found by their number of tokens, printed and counted."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest
from tiny_pipelines import PROMPT_LENGTH
from transformers import AutoTokenizer, T5Config, T5EncoderModel

from palate.models.load import load_denoiser
from palate.models.prompt_length import COUNT, TextLimit, cut_off, note_cut_off, text_limits
from palate.models.source import resolve

FITS = "a" * (PROMPT_LENGTH - 2)  # in the random pipelines a token is a character; two more mark beginning and end


@pytest.mark.parametrize("kind", ["eps", "sd3"])
def test_the_longest_prompt_that_fits_is_not_cut_off_and_one_token_more_is(models: dict[str, Path], kind: str) -> None:
    limits = text_limits(resolve(models[kind]))
    assert {limit.tokens for limit in limits} == {PROMPT_LENGTH}
    long = FITS + "a"
    assert cut_off([FITS, long, "a cat", long], limits) == [long]


def test_letters_of_several_bytes_count_by_their_tokens(models: dict[str, Path]) -> None:
    short, long = "é" * (PROMPT_LENGTH // 2 - 1), "é" * (PROMPT_LENGTH // 2)  # two bytes each
    assert len(long) < PROMPT_LENGTH
    assert cut_off([short, long], text_limits(resolve(models["eps"]))) == [long]


def test_a_limit_is_the_smallest_of_tokenizer_configuration_and_pipeline(models: dict[str, Path]) -> None:
    tokenizer = AutoTokenizer.from_pretrained(models["eps"] / "tokenizer")
    folder = models["sd3"].parent / "with-t5"
    folder.mkdir()
    for part in models["sd3"].iterdir():
        (folder / part.name).symlink_to(part)
    (folder / "model_index.json").unlink()
    index = (models["sd3"] / "model_index.json").read_text()
    for part, kind in (("tokenizer_3", "CLIPTokenizer"), ("text_encoder_3", "T5EncoderModel")):
        index = index.replace(f'"{part}": [\n    null,\n    null', f'"{part}": [\n    "transformers",\n    "{kind}"')
    (folder / "model_index.json").write_text(index)
    tokenizer.model_max_length = 512
    tokenizer.save_pretrained(folder / "tokenizer_3")
    T5EncoderModel(T5Config(vocab_size=600, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2)).save_pretrained(
        folder / "text_encoder_3"
    )
    limits = text_limits(resolve(folder))
    assert [limit.tokens for limit in limits] == [PROMPT_LENGTH, PROMPT_LENGTH, 256]  # as StableDiffusion3Pipeline asks
    assert cut_off(["a" * 254, "a" * 255], limits) == ["a" * 255]  # what one encoder reads whole is not cut off


def test_the_words_that_a_pipeline_puts_before_a_prompt_count(twins: Mapping[str, Path], tmp_path: Path) -> None:
    shutil.copytree(twins["lumina-2"], tmp_path / "model")
    tokenizer = AutoTokenizer.from_pretrained(twins["lumina-2"] / "tokenizer")
    tokenizer.model_max_length = 512
    tokenizer.save_pretrained(tmp_path / "model/tokenizer")
    limits = text_limits(resolve(tmp_path / "model"))
    longest = "a" * (limits[0].tokens - 2)
    assert cut_off([longest, longest + "a"], limits) == [longest + "a"]
    denoiser = load_denoiser(tmp_path / "model", without=("vae", "transformer"))
    rows = denoiser.encode_prompt(["a", longest, longest + "a"]).ragged("embeddings").length.tolist()
    assert rows[0] < 256 - 10 and rows[1] == rows[2] == 256  # the longest fills all of the pipeline's tokens


def test_no_prompt_is_cut_off_without_a_limit() -> None:
    assert cut_off(["a" * 1000], []) == []
    assert cut_off([], [TextLimit(None, 77)]) == []


def test_cut_off_prompts_are_printed_and_counted(capsys: pytest.CaptureFixture[str]) -> None:
    assert note_cut_off([], "some-model") == {}
    assert capsys.readouterr().err == ""
    assert note_cut_off(["a red\nsquare"], "some-model") == {COUNT: 1}
    assert capsys.readouterr().err == (
        "1 prompt is longer than some-model reads, so its end is cut off: 'a red square'...\n"
    )
    assert note_cut_off(["a" * 100, "b"], "some-model") == {COUNT: 2}
    assert f"2 prompts are longer than some-model reads, so their ends are cut off: '{'a' * 60}'...\n" in (
        capsys.readouterr().err
    )
