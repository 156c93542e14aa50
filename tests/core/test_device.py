import pytest
import torch

from palate.core.device import best_device, pick_device


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


def test_an_accelerator_that_cannot_be_used_is_not_taken(gpu, monkeypatch):
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    assert best_device() == "cpu"
