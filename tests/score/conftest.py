"""Scorers of untrained networks: what they say is arbitrary, how they say it is not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from tiny_pipelines import random_clip

from palate.score import world
from palate.score.load import load_scorer
from palate.world.judges import build_judge


@pytest.fixture
def untrained_judges(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def untrained(name: str) -> object:
        torch.manual_seed(0)
        return build_judge(name).eval().requires_grad_(False)  # pyright: ignore[reportArgumentType]

    caches = world.reader, load_scorer
    for cache in caches:
        cache.cache_clear()
    monkeypatch.setattr(world, "load_judge", untrained)
    yield
    for cache in caches:
        cache.cache_clear()


@pytest.fixture(scope="session")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random CLIP that resizes the shortest edge to 24 and crops 24 x 24, as the released ones do with 224."""
    return random_clip(tmp_path_factory.mktemp("clip"))
