"""A trace counts bytes and FLOPs of code that runs on tensors without memory."""

import pytest
import torch
from torch import nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode

from palate.align.estimate.calibrate import calibrate
from palate.align.estimate.few_bits import in_few_bits, saved_by_quantizing
from palate.align.estimate.trace import measured, tracing
from palate.models.weightless import narrow_weights


def test_a_linear_layer_costs_two_operations_a_weight_and_row():
    with tracing() as trace:
        layer, x = nn.Linear(30, 50), torch.randn(7, 30)
        _, work = measured(trace, lambda: layer(x))
    assert work.flops == 2 * 7 * 30 * 50


def test_the_peak_has_what_is_alive_at_one_time_and_parameters_only_until_they_are_excluded():
    with tracing() as trace:
        layer = nn.Linear(10, 10, bias=False)
        assert trace.live == 400
        trace.exclude(layer)
        assert trace.live == 0
        x = torch.randn(100)

        with trace.measuring() as work:
            for _ in range(2):
                x.add(1.0)  # freed at once
        assert (trace.live, work.peak) == (400, 800)
        del x
        trace_live = trace.live
    assert trace_live == 0


def test_integers_and_masks_are_real_and_decide_shapes():
    with tracing():
        mask = torch.tensor([True, False, True])
        numbers = torch.randn(3, 5)[mask]
        assert mask.tolist() == [True, False, True]
        assert numbers.shape == (2, 5) and int(torch.arange(4).sum()) == 6
        assert torch.randn(4, 8).topk(2).indices.tolist() == [[0, 0]] * 4  # a router's choice


class Convolutions(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Conv2d(8, 8, 3, padding=1) for _ in range(3))
        self.norm, self.out = nn.GroupNorm(2, 8), nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = torch.nn.functional.silu(self.norm(layer(x)))
        heads = x.flatten(2).transpose(1, 2)[:, None]
        x = torch.nn.functional.scaled_dot_product_attention(heads, heads, heads)
        return self.out(x)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_a_real_forward_pass_saves_and_costs_is_what_is_traced(dtype):
    def forward(network: nn.Module) -> tuple[int, torch.Tensor]:
        """Bytes of the distinct saved tensors that are no parameters, and the result."""
        own = {parameter.untyped_storage()._cdata for parameter in network.parameters()}
        saved: dict[int, torch.UntypedStorage] = {}

        def keep(tensor: torch.Tensor) -> torch.Tensor:
            if tensor.untyped_storage()._cdata not in own:
                saved[tensor.untyped_storage()._cdata] = tensor.untyped_storage()
            return tensor

        x = torch.randn(2, 8, 16, 16)
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32), saved_tensors_hooks(keep, lambda each: each):
            result = network(x)
        return sum(storage.nbytes() for storage in saved.values()), result

    with FlopCounterMode(display=False) as counter:
        real, _ = forward(Convolutions())
    with tracing() as trace:
        network = Convolutions()
        trace.exclude(network)
        before = trace.live
        (saved, result), work = measured(trace, lambda: forward(network))
        del result
        assert saved == pytest.approx(real, rel=1e-3)  # autocast keeps a cast bias or not
        assert work.flops == counter.get_total_flops()
        assert work.peak - before >= saved


def test_bits_of_linear_layers_are_counted_by_hand():
    with tracing():
        network = nn.Sequential(nn.Linear(256, 128), nn.Conv2d(4, 4, 3))
        narrow_weights(network, torch.bfloat16)
        numbers = 256 * 128
        assert saved_by_quantizing(network, "8bit") == 2 * numbers - (numbers + 4 * 128)
        assert saved_by_quantizing(network, "4bit") == 2 * numbers - (
            numbers // 2 + numbers // 64 + 4 * numbers // 16384
        )
        in_few_bits(network, "4bit")
        assert network[0](torch.randn(3, 256, dtype=torch.bfloat16)).shape == (3, 128)


def test_the_time_of_an_operation_is_measured_and_others_of_its_kind_follow():
    with tracing() as trace:
        big, small = torch.randn(64, 64), torch.randn(32, 32)
        _, work = measured(trace, lambda: [big @ big, small @ small])
    rates = calibrate([(work, 1)], torch.device("cpu"))
    assert 0 < rates.time(work) < 1
    clock = iter(range(10_000))
    assert calibrate([(work, 1)], torch.device("cpu"), lambda: float(next(clock)), budget=-1).seconds == {}
