"""A small world that a random CLIP can learn: bright pictures win, and grades are how bright they are."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tiny_pipelines import random_clip

from palate.prefer.grades import write_graded
from palate.records.graded_image import GradedImage
from palate.records.images import StoredImage
from palate.records.parquet import write_sets
from palate.records.ranked import RankedSet, Vote
from palate.reward.config import BradleyTerryConfig, DiscriminatorConfig, RegressionConfig

PROMPTS = [
    f"{count} {colour} stars" for count in ("two", "three", "four") for colour in ("red", "green", "blue", "white")
]


def picture(number: int, level: int) -> StoredImage:
    """Noise around a level of brightness in 0..255."""
    pixels = np.random.default_rng(number).integers(-40, 40, (24, 24, 3)) + level
    buffer = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(buffer, "PNG")
    return StoredImage(buffer.getvalue())


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A random CLIP of 24 x 24 pictures."""
    return str(random_clip(tmp_path_factory.mktemp("clip")))


@pytest.fixture(scope="session")
def feedback(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Rankings of pairs and triples, one of them a tie, with votes; and grades."""
    root = tmp_path_factory.mktemp("feedback")
    sets = []
    for number, prompt in enumerate(PROMPTS):
        bright, dim, dark = (picture(10 * number + i, level) for i, level in enumerate((200, 130, 60)))
        votes = (Vote("a", (1, 2)), Vote("b", (1, 2)), Vote("c", (2, 1)))
        sets.append(RankedSet(prompt, (bright, dark), (1, 2), votes))
        sets.append(RankedSet(prompt, (dim, dark, bright), (2, 3, 1)))
        sets.append(RankedSet(prompt, (picture(number + 500, 130), picture(number + 600, 130)), (1, 1)))
    write_sets(sets, root / "sets.parquet")
    graded = [
        GradedImage(prompt, picture(7 * number + level, level), (level - 40) / 180)
        for number, prompt in enumerate(PROMPTS)
        for level in (40, 220)
    ]
    write_graded(graded, root / "grades.parquet")
    return {"sets": str(root / "sets.parquet"), "grades": str(root / "grades.parquet")}


@pytest.fixture
def rankings(clip: str, feedback: dict[str, str], tmp_path: Path) -> Callable[..., BradleyTerryConfig]:
    """Makes a small configuration of `palate reward train bradley_terry`."""
    return lambda **changes: BradleyTerryConfig(**_small(tmp_path, clip, preferences=feedback["sets"]) | changes)


@pytest.fixture
def grades(clip: str, feedback: dict[str, str], tmp_path: Path) -> Callable[..., RegressionConfig]:
    """Makes a small configuration of `palate reward train regression`."""
    return lambda **changes: RegressionConfig(**_small(tmp_path, clip, grades=feedback["grades"]) | changes)


@pytest.fixture
def folders(clip: str, tmp_path: Path) -> Callable[..., DiscriminatorConfig]:
    """Makes a small configuration of `palate reward train discriminator`: real pictures are bright."""
    for name, level in (("real", 200), ("generated", 60)):
        folder = tmp_path / name
        folder.mkdir()
        for number in range(len(PROMPTS)):
            (folder / f"{number}.png").write_bytes(picture(number + level, level).read())
        rows = [json.dumps({"file_name": f"{number}.png", "prompt": prompt}) for number, prompt in enumerate(PROMPTS)]
        (folder / "metadata.jsonl").write_text("\n".join(rows) + "\n")
    both = {"real": tmp_path / "real", "generated": (tmp_path / "generated",)}
    return lambda **changes: DiscriminatorConfig(**_small(tmp_path, clip, **both) | changes)


def _small(tmp_path: Path, clip: str, **source: Any) -> dict[str, Any]:
    common = {
        "backbone": clip,
        "steps": 30,
        "batch": 8,
        "lr": 0.01,
        "hidden": (8,),
        "validation": 0.25,
        "device": "cpu",
    }
    return {**common, "out": tmp_path / "run", "cache": tmp_path / "cache", "precision": "fp32", **source}
