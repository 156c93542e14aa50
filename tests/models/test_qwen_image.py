from shutil import copytree

import torch
from transformers import AutoTokenizer

from palate.models.load import load_denoiser, resolve
from palate.models.prompt_length import text_limits


def test_guidance_keeps_the_norm_of_each_token_of_the_prediction_for_the_prompt(twins):
    """A token is 2 x 2 cells of all channels."""
    denoiser = load_denoiser(twins["qwen-image"])
    positive, negative = torch.randn(2, 1, 4, 4, 6, generator=torch.Generator().manual_seed(0))
    guided = denoiser.guided(positive, negative, 4.0)
    norms = [each.unfold(2, 2, 2).unfold(3, 2, 2).square().sum((1, 4, 5)) for each in (positive, guided)]
    torch.testing.assert_close(norms[1], norms[0])
    plain = negative + 4.0 * (positive - negative)
    torch.testing.assert_close(guided[..., :2, :2] / guided[0, 0, 0, 0], plain[..., :2, :2] / plain[0, 0, 0, 0])


def test_prompts_are_kept_without_padding(twins):
    embeddings = load_denoiser(twins["qwen-image"]).encode_prompt(["a", "a longer prompt", None]).ragged("embeddings")
    lengths = embeddings.length - embeddings.length.min()
    assert lengths.tolist() == [len("a"), len("alongerprompt"), 0]  # no prompt is a blank, which has no token here
    assert embeddings.mask().sum().item() == embeddings.length.sum().item()


def test_the_longest_prompt_is_that_of_the_pipeline_s_call_and_not_of_its_encoding(twins, tmp_path):
    folder = copytree(twins["qwen-image"], tmp_path / "model")
    tokenizer = AutoTokenizer.from_pretrained(folder / "tokenizer")
    tokenizer.model_max_length = 131072
    tokenizer.save_pretrained(folder / "tokenizer")
    assert [limit.tokens for limit in text_limits(resolve(folder))] == [512]
    longer = load_denoiser(folder).encode_prompt(["a" * 2000]).ragged("embeddings")
    assert longer.length.tolist() == [512]
