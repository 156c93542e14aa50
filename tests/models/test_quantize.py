"""Linear layers in 8 and 4 bits: what they compute, which layers they replace, and what an adapter on them learns."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from twins import TWINS

from palate.core import bitsandbytes_check
from palate.core.errors import ConfigError
from palate.models import quantize
from palate.models.load import load_denoiser
from palate.models.lora import add_lora, without_adapter
from palate.models.quantize import quantization_identity, quantize_network, require_quantization

pytest.importorskip("bitsandbytes")
pytestmark = [
    pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning"),  # Kolors' text encoder
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:`FluxPosEmbed` is deprecated:FutureWarning"),  # by diffusers' own Chroma
]
QUICK = ("flux-dev", "qwen-image", "sana", "sd3", "sdxl")
BITS = pytest.mark.parametrize("bits", ["8bit", "4bit"])
NF4 = [-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334]
NF4 += [-0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224]
NF4 += [0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0]  # Dettmers et al. 2023, appendix E


def layer(weight: torch.Tensor, bits: str, bias: bool = True) -> Any:
    """A quantised layer with a weight [out, in], in a network of its own."""
    linear = nn.Linear(weight.shape[1], weight.shape[0], bias=bias)
    linear.weight.data = weight.clone()
    network = nn.Sequential(linear.requires_grad_(False))
    quantize_network(network, bits, "cpu")  # type: ignore[arg-type]
    return network[0]


def test_eight_bits_keep_127ths_of_the_largest_number_of_each_row():
    weight = torch.tensor([[127.0, -3.0, 50.0], [0.0, 2.0, -1.0]])
    found = layer(weight, "8bit")
    assert found.weight.dtype == torch.int8
    assert found.weight.tolist() == [[127, -3, 50], [0, 127, -64]]  # -1 is -63.5 of 127ths of 2
    expected = torch.tensor([[127.0, -3.0, 50.0], [0.0, 2.0, -128 / 127]])
    torch.testing.assert_close(found.dequantized(torch.float32), expected)


def test_four_bits_keep_the_sixteen_levels_of_nf4_times_the_largest_number_of_a_block():
    weight = 3.0 * torch.tensor(NF4).repeat(4).view(8, 8)  # one block of 64
    found = layer(weight, "4bit")
    assert found.weight.dtype == torch.uint8 and found.weight.numel() == 32
    torch.testing.assert_close(found.dequantized(torch.float32), weight)
    between = torch.tensor(NF4).repeat(4).view(8, 8)
    between[0, 1] = -0.65  # nearest to -0.696
    assert layer(between, "4bit").dequantized(torch.float32)[0, 1].item() == pytest.approx(NF4[1])


@BITS
@pytest.mark.parametrize("rows, columns", [(13, 7), (1, 1), (64, 64), (100, 65)])
@pytest.mark.parametrize("bias", [True, False])
def test_a_layer_of_any_size_is_linear_in_its_input_and_passes_the_gradient_back(bits, rows, columns, bias):
    found = layer(torch.randn(rows, columns, generator=torch.Generator().manual_seed(0)), bits, bias)
    x, gradient = torch.randn(2, 5, columns, requires_grad=True), torch.randn(2, 5, rows)
    weight = found.dequantized(torch.float32)
    assert weight.shape == (rows, columns)
    expected = x.detach() @ weight.T + (found.bias if bias else 0)
    torch.testing.assert_close(found(x), expected)
    found(x).backward(gradient)
    torch.testing.assert_close(x.grad, gradient @ weight)
    with torch.no_grad():
        assert torch.equal(found(x), expected) or torch.allclose(found(x), expected, atol=1e-5)


@BITS
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_it_computes_in_the_dtype_of_autocast(bits, dtype):
    found = layer(torch.randn(8, 8), bits)
    x = torch.randn(2, 8, requires_grad=True)
    with torch.autocast("cpu", dtype):
        y = found(x)
    y.sum().backward()
    assert y.dtype == dtype and x.grad is not None and x.grad.dtype == torch.float32
    torch.testing.assert_close(x.grad, found.dequantized(dtype).float().sum(0).expand(2, 8), atol=0.05, rtol=0.02)


@BITS
def test_only_frozen_linear_layers_outside_those_that_diffusers_keeps_are_quantised(bits):
    class Network(nn.Module):
        _keep_in_fp32_modules = ("kept",)

        def __init__(self) -> None:
            super().__init__()
            self.kept, self.inner = nn.Sequential(nn.Linear(4, 4)), nn.ModuleList([nn.Linear(4, 4)])
            self.conv, self.norm, self.attention = nn.Conv2d(4, 4, 1), nn.LayerNorm(4), nn.MultiheadAttention(4, 1)

    network = Network()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    quantize_network(network, bits, "cpu")
    changed = {name for name, value in network.state_dict().items() if not torch.equal(value, before.get(name, value))}
    assert {name for name in changed if name in before} == {"inner.0.weight"}
    assert not any(parameter.requires_grad for parameter in network.inner.parameters())


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in TWINS]
)
@BITS
def test_a_familys_network_in_few_bits_predicts_nearly_the_same_and_its_adapter_begins_at_it(twins, name, bits):
    square = TWINS[name].square
    plain, quantised = load_denoiser(twins[name]), load_denoiser(twins[name], quantize=bits)
    shape = plain.encode(torch.zeros(1, 3, square, square)).shape
    x_t = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    t = plain.schedule(tuple(shape[-2:])).sample_t(torch.tensor([0.6]))  # type: ignore[arg-type]

    def predict(denoiser):
        return denoiser.predict(x_t, t, plain.encode_prompt(["a star"]))

    with torch.no_grad():
        base, exact = predict(quantised), predict(plain)
        close = torch.nn.functional.cosine_similarity(base.flatten(), exact.flatten(), 0)
        assert close > {"8bit": 0.999, "4bit": 0.9}[bits] and not torch.equal(base, exact)
        add_lora(quantised.network, 2, 2, quantised.lora_targets)
        assert torch.equal(predict(quantised), base)
    predict(quantised).square().mean().backward()
    gradients = {each: value.grad for each, value in quantised.network.named_parameters() if value.requires_grad}
    assert gradients and all("lora_" in each for each in gradients)
    assert any(gradient is not None and gradient.abs().sum() > 0 for gradient in gradients.values())
    with torch.no_grad():
        for each, value in quantised.network.named_parameters():
            if "lora_B" in each:
                value.fill_(0.1)
        assert not torch.equal(predict(quantised), base)
        with without_adapter(quantised.network):
            assert torch.equal(predict(quantised), base)


def test_a_network_that_is_not_quantised_has_the_caches_that_it_had():
    assert quantization_identity(None) == ()
    assert len({quantization_identity("8bit"), quantization_identity("4bit")}) == 2


@BITS
def test_without_bitsandbytes_or_a_device_for_it_the_error_is_one_line(monkeypatch, bits):
    require_quantization(bits, "cpu")
    with pytest.raises(ConfigError, match=f"^--quantize {bits} does not work on the device nowhere: .*; leave it out$"):
        require_quantization(bits, "nowhere")
    monkeypatch.setattr(bitsandbytes_check, "find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=f"^--quantize {bits} needs bitsandbytes.*pip install 'palate.low-memory.'$"):
        require_quantization(bits, "cpu")
    monkeypatch.setattr(quantize, "require_bitsandbytes", lambda *_: pytest.fail("asked"))
    require_quantization(None, "cpu")
