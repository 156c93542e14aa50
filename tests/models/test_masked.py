"""Prompts of families that pad and mask them: kept without padding, and no prompt as the pipeline guides."""

from __future__ import annotations

import pytest
import torch

from palate.models.load import load_denoiser, resolve

LENGTHS = {"lumina-2": 256, "auraflow": 256, "sana": 300, "pixart-sigma": 300}


@pytest.mark.parametrize("name", LENGTHS)
def test_a_prompt_is_kept_without_its_padding_and_given_to_the_pipeline_with_it(twins, name):
    denoiser = load_denoiser(twins[name], without=("vae", resolve(twins[name]).network))
    short, long = denoiser.encode_prompt(["a star", "a blue star"]).ragged("embeddings").length.tolist()
    assert long - short == 4  # characters are the tokens of a twin, without spaces
    inputs = denoiser.pipeline_inputs(denoiser.encode_prompt(["a star"]), denoiser.encode_prompt([None]))
    assert inputs["prompt_embeds"].shape[1] == inputs["negative_prompt_embeds"].shape[1] == LENGTHS[name]
    mask = inputs["prompt_attention_mask"][0]
    assert mask.sum() == short and mask[:short].all() and not inputs["prompt_embeds"][0, short:].any()


@pytest.mark.parametrize("name, tokens_before_a_prompt", [("lumina-2", 100), ("sana", 0)])
def test_no_prompt_is_the_empty_text_without_the_words_that_come_before_a_prompt(twins, name, tokens_before_a_prompt):
    denoiser = load_denoiser(twins[name], without=("vae", "transformer"))
    none, empty = denoiser.encode_prompt([None, ""]).ragged("embeddings").rows()
    assert len(none) == 2  # the marks of beginning and end
    assert len(empty) >= 2 + tokens_before_a_prompt
    assert not torch.allclose(none[-1], empty[-1], atol=1e-3)  # the last token has read the words before it


@pytest.mark.parametrize("name", ["auraflow", "pixart-sigma"])
def test_no_prompt_is_the_empty_prompt_where_no_words_come_before(twins, name):
    denoiser = load_denoiser(twins[name], without=("vae", "transformer"))
    none, empty = denoiser.encode_prompt([None, ""]).ragged("embeddings").rows()
    torch.testing.assert_close(none, empty, atol=1e-6, rtol=1e-5)
