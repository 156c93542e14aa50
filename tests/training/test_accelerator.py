from __future__ import annotations

import accelerate
import pytest

from palate.core.errors import ConfigError
from palate.training import accelerator
from palate.training.accelerator import make_accelerator


@pytest.mark.parametrize("device, best, cpu", [(None, "cpu", True), ("cpu", "cuda", True), (None, "cuda", False)])
def test_accelerate_knows_that_a_training_is_on_the_cpu_even_if_it_is_the_only_device(monkeypatch, device, best, cpu):
    """Otherwise several processes of a machine without an accelerator would each train on their own."""
    asked = {}

    class Fake:
        is_main_process = True

        def __init__(self, **options):
            asked.update(options)

    monkeypatch.setattr(accelerate, "Accelerator", Fake)
    monkeypatch.setattr(accelerator, "best_device", lambda: best)
    make_accelerator(device)
    assert asked["cpu"] == cpu


def test_a_device_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr(accelerator, "best_device", lambda: "cpu")
    with pytest.raises(ConfigError, match="no device 'cuda' on this machine; leave device out"):
        make_accelerator("cuda")
