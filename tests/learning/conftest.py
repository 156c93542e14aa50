"""What the learning tests share: one at a time they have all cores, and they draw the seen prompts once."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from graded import grade_images

from palate.generate.stage import GenerateConfig, generate


@pytest.fixture(scope="session", autouse=True)
def every_core() -> Iterator[None]:
    """Other tests run beside each other, on a core each; these run alone."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(os.cpu_count() or 1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def graded_seen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of `palate prefer grade`: an image of every seen prompt, right (1) or wrong (0) by the teacher."""
    drawn = tmp_path_factory.mktemp("seen") / "images"
    return grade_images(
        generate(GenerateConfig(model="tiny-sd", prompts="seen", images=1, seed=5, batch=32, out=drawn))
    )
