"""AdamW in 8 bits, its state in a checkpoint, and what is said where bitsandbytes is absent or does not work."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from palate.core import bitsandbytes_check
from palate.core.errors import ConfigError
from palate.training import optimizer as module
from palate.training.optimizer import make_optimizer, optimizer_tensors, require_optimizer, restore_optimizer


def network() -> nn.Module:
    """Two matrices of more than 4,096 numbers, whose state is in 8 bits, and two biases, whose state is not."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(70, 80), nn.Linear(80, 70))


def step(net: nn.Module, optimizer: torch.optim.Optimizer, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for parameter in net.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator)
    optimizer.param_groups[0]["lr"] = 1e-3
    optimizer.step()


@pytest.mark.parametrize("kind", ["adamw", "adamw8bit", "adafactor"])
def test_a_state_that_was_saved_continues_bit_for_bit(kind, tmp_path):
    if kind == "adamw8bit":
        pytest.importorskip("bitsandbytes")
    straight = network()
    optimizer = make_optimizer(straight, kind, 0.01)
    for seed in range(5):
        step(straight, optimizer, seed)
        if seed == 2:
            save_file(optimizer_tensors(optimizer), tmp_path / "state.safetensors")
            resumed = network()
            resumed.load_state_dict(straight.state_dict())
    other = make_optimizer(resumed, kind, 0.01)
    restore_optimizer(other, load_file(tmp_path / "state.safetensors"))
    for seed in (3, 4):
        step(resumed, other, seed)
    assert all(torch.equal(a, b) for a, b in zip(straight.parameters(), resumed.parameters()))


def test_the_state_of_large_tensors_is_in_eight_bits_and_the_step_is_close_to_that_of_adamw():
    pytest.importorskip("bitsandbytes")
    nets = {kind: network() for kind in ("adamw", "adamw8bit")}
    optimizers = {kind: make_optimizer(net, kind, 0.01) for kind, net in nets.items()}  # type: ignore[arg-type]
    start = network()[0].weight
    for seed in range(20):
        for kind, net in nets.items():
            step(net, optimizers[kind], seed)
    moved = {kind: net[0].weight - start for kind, net in nets.items()}  # type: ignore[index]
    assert torch.cosine_similarity(moved["adamw"].flatten(), moved["adamw8bit"].flatten(), 0) > 0.99
    sizes = {kind: sum(each.nbytes for each in optimizer_tensors(made).values()) for kind, made in optimizers.items()}
    assert sizes["adamw8bit"] < 0.35 * sizes["adamw"]


def test_without_bitsandbytes_the_error_has_the_command_that_installs_it(monkeypatch):
    monkeypatch.setattr(bitsandbytes_check, "find_spec", lambda _: None)
    message = r"--optimizer adamw8bit needs bitsandbytes, which is not installed; pip install 'palate\[low-memory\]'"
    with pytest.raises(ConfigError, match=message):
        require_optimizer("adamw8bit", "cpu")
    require_optimizer("adamw", "cpu")


def test_a_device_on_which_it_does_not_work_is_named(monkeypatch):
    pytest.importorskip("bitsandbytes")
    require_optimizer("adamw8bit", "cpu")

    def fails(*_):
        raise RuntimeError("no kernel\nfor this device")

    monkeypatch.setattr(module, "make_optimizer", fails)
    with pytest.raises(ConfigError, match="^--optimizer adamw8bit does not work on the device cpu: no kernel; leave"):
        require_optimizer("adamw8bit", "cpu")
