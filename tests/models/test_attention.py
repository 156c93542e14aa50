import pytest
import torch
from diffusers.models.attention_processor import AttnProcessor

from palate.models.attention import use_plain_attention
from palate.models.load import load_denoiser


def test_plain_attention_predicts_the_same_up_to_rounding(models):
    denoiser = load_denoiser(models["eps"])
    conditioning = denoiser.encode_prompt(["a star"])
    x_t, t = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0)), torch.tensor([500])
    with torch.no_grad():
        fused = denoiser.predict(x_t, t, conditioning)
        assert use_plain_attention(denoiser.network, 64, "cpu", torch.bfloat16)
        torch.testing.assert_close(denoiser.predict(x_t, t, conditioning), fused, atol=1e-5, rtol=1e-5)
    processors = [layer.processor for layer in denoiser.network.modules() if hasattr(layer, "processor")]
    assert processors and all(isinstance(processor, AttnProcessor) for processor in processors)


@pytest.mark.parametrize(
    "tokens, device, dtype", [(64, "cuda", torch.bfloat16), (64, "cpu", torch.float32), (1024, "cpu", torch.bfloat16)]
)
def test_fused_attention_is_kept_where_it_is_faster(models, tokens, device, dtype):
    assert not use_plain_attention(load_denoiser(models["eps"]).network, tokens, device, dtype)


def test_another_kind_of_attention_is_not_replaced(models):
    assert not use_plain_attention(load_denoiser(models["sd3"]).network, 64, "cpu", torch.bfloat16)
