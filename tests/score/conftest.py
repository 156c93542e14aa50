"""Scorers with untrained networks: their scores are arbitrary, but have the right form."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from score.measured import channels  # noqa: F401 - a fixture
from tiny_pipelines import random_clip

from palate.world import scorers
from palate.world.judges import build_judge


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of each test's own, so that no score comes from another test."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("PALATE_CACHE", str(folder))
    return folder


@pytest.fixture
def untrained_judges(monkeypatch: pytest.MonkeyPatch) -> None:
    def untrained(name: str) -> object:
        torch.manual_seed(0)
        return build_judge(name).eval().requires_grad_(False)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(scorers, "load_judge", untrained)


@pytest.fixture(scope="session")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random CLIP that resizes the shortest edge to 24 and crops 24 x 24, as the released ones do with 224."""
    return random_clip(tmp_path_factory.mktemp("clip"))
