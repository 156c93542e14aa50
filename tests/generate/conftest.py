"""Random pipelines, made once."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
from tiny_pipelines import random_sd3, random_sdxl, random_stable_diffusion

from palate.generate import sampler
from palate.generate.stage import GenerateConfig

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


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    (tmp_path / "prompts.txt").write_text("a cat\na dog\na very long prompt\n")
    return tmp_path / "prompts.txt"


@pytest.fixture
def config(stable_diffusion: Path, prompts: Path, tmp_path: Path):
    def make(out: str = "run", **changes: Any) -> GenerateConfig:
        values = {"model": str(stable_diffusion), "prompts": str(prompts), "images": 2, "steps": 2, "device": "cpu"}
        return GenerateConfig(out=tmp_path / out, **values | changes)

    return make
