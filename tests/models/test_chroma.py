import pytest
import torch

from palate.models.load import load_denoiser

pytestmark = pytest.mark.filterwarnings("ignore:`FluxPosEmbed` is deprecated:FutureWarning")


def test_the_mask_of_a_prompt_keeps_the_first_token_of_its_padding(twins):
    denoiser = load_denoiser(twins["chroma"])
    tokens = denoiser.pipeline.tokenizer(["a star", ""]).input_ids
    mask = denoiser.encode_prompt(["a star", None]).dense("mask")
    assert mask.shape == (2, 512)
    assert mask.sum(1).tolist() == [len(each) + 1 for each in tokens]
    assert torch.equal(mask.sort(1, descending=True).values, mask)
