"""Random pipelines, made once."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import pytest
from tiny_pipelines import random_sd3, random_sdxl, random_stable_diffusion

from palate.generate import sampler

load_once = lru_cache(sampler.load_pipeline)


@pytest.fixture(autouse=True)
def load_each_pipeline_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loading takes most of a small run's time, and samplers leave a pipeline as it was."""
    monkeypatch.setattr(sampler, "load_pipeline", load_once)


@pytest.fixture(scope="session")
def stable_diffusion(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_stable_diffusion(tmp_path_factory.mktemp("models") / "random-sd")


@pytest.fixture(scope="session")
def other_stable_diffusion(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_stable_diffusion(tmp_path_factory.mktemp("models") / "other-sd", seed=1)


@pytest.fixture(scope="session")
def sdxl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_sdxl(tmp_path_factory.mktemp("models") / "random-sdxl")


@pytest.fixture(scope="session")
def sd3(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_sd3(tmp_path_factory.mktemp("models") / "random-sd3")
