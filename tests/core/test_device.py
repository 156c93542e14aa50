import pytest
import torch

from palate.core.device import best_device, pick_device
from palate.core.errors import ConfigError


@pytest.fixture
def gpu(monkeypatch):
    """A machine with an accelerator, as far as torch says."""
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device("cuda"))
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)


@pytest.mark.usefixtures("gpu")
def test_the_accelerator_is_taken_where_none_is_named():
    assert best_device() == pick_device(None) == "cuda"


@pytest.mark.usefixtures("gpu")
def test_the_device_that_is_named_is_taken_beside_a_better_one():
    assert pick_device("cpu") == "cpu"


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("device", ["mps", "cuda:2", "cuda:x", "gpu", ""])
def test_a_device_that_is_not_there_is_refused_in_words(monkeypatch, device: str):
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 2)
    assert pick_device("cuda:1") == "cuda:1"
    with pytest.raises(ConfigError, match=f"no device '{device}' on this machine; leave device out .*cuda"):
        pick_device(device)


def test_an_accelerator_that_cannot_be_used_is_not_taken(gpu, monkeypatch):
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    assert best_device() == "cpu"
