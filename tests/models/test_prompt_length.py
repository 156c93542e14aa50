"""Prompts that a text encoder cuts off are found by their number of tokens, printed and counted."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_pipelines import PROMPT_LENGTH
from transformers import AutoTokenizer, T5Config, T5EncoderModel

from palate.models.conditioning import Ragged
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


@pytest.mark.parametrize("name, tokens", [("lumina-2", 256), ("z-image", 512), ("flux2-klein", 512)])
def test_the_text_that_a_pipeline_puts_before_a_prompt_counts(
    twins: Any, tmp_path: Path, name: str, tokens: int
) -> None:
    """The embeddings of the pipeline show it: a letter changes them if it is the last that is read, and not after."""
    folder = tmp_path / "model"
    shutil.copytree(twins[name], folder)
    tokenizer = AutoTokenizer.from_pretrained(folder / "tokenizer")
    tokenizer.model_max_length = 4096
    tokenizer.save_pretrained(folder / "tokenizer")
    limits = text_limits(resolve(folder))
    longest = "a" * (limits[0].tokens - 2)
    assert len(longest) < tokens - 2 - len("<user")
    assert cut_off([longest, longest + "b"], limits) == [longest + "b"]
    denoiser = load_denoiser(folder, without=("vae", "transformer"))
    prompts = (longest, longest[:-1] + "b", longest + "b", longest + "c")
    whole, last, *after = (_embeddings(denoiser, prompt) for prompt in prompts)
    assert not torch.equal(whole, last)
    assert len(after[0]) == tokens and torch.equal(*after)


def test_the_system_s_message_of_flux_2_counts(twins: Any) -> None:
    limits = text_limits(resolve(twins["flux2-dev"]))
    assert 0 < limits[0].tokens < 512 - 100


def _embeddings(denoiser: Any, prompt: str) -> torch.Tensor:
    found = denoiser.encode_prompt([prompt]).tensors["embeddings"]
    return found.rows()[0] if isinstance(found, Ragged) else found[0]


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
