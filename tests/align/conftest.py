import io

import numpy as np
import pytest
from PIL import Image
from tiny_pipelines import RESOLUTION, random_sd3, random_stable_diffusion

from palate.align.methods.dpo import DPOConfig
from palate.align.methods.sft import SFTConfig
from palate.prefer.grades import write_graded
from palate.records.graded_image import GradedImage
from palate.records.images import StoredImage
from palate.records.parquet import write_sets
from palate.records.ranked import RankedSet


def picture(number: int, bright: bool) -> StoredImage:
    """A noisy picture, light or dark, which a random network can distinguish."""
    generator = np.random.default_rng(number)
    pixels = generator.integers(0, 80, (RESOLUTION, RESOLUTION, 3)) + (170 if bright else 0)
    buffer = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(buffer, "PNG")
    return StoredImage(buffer.getvalue())


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    """Models and preferences by name: bright pictures win."""
    root = tmp_path_factory.mktemp("align")
    sets = [RankedSet(f"{i % 5} stars", (picture(i, True), picture(i + 100, False)), (1, 2)) for i in range(12)]
    write_sets(sets, root / "pairs.parquet")
    return {
        "eps": random_stable_diffusion(root / "eps"),
        "v": random_stable_diffusion(root / "v", prediction_type="v_prediction"),
        "sd3": random_sd3(root / "sd3"),
        "pairs": root / "pairs.parquet",
        "lists": _lists(root / "lists.parquet"),
        "thumbs": _graded(root / "thumbs.parquet", (1.0, 0.0)),
        "rewards": _graded(root / "rewards.parquet", (0.9, 0.1)),
        "cache": root / "cache",
    }


@pytest.fixture
def dpo_config(world, tmp_path):
    """Makes a small configuration of `palate align dpo`."""
    return lambda **changes: DPOConfig(**_defaults(world, tmp_path, changes))


@pytest.fixture
def sft_config(world, tmp_path):
    """Makes a small configuration of `palate align sft`."""
    return lambda **changes: SFTConfig(**_defaults(world, tmp_path, changes))


@pytest.fixture
def config_of(world, tmp_path):
    """Makes a small configuration of any method, by its class."""
    return lambda kind, **changes: kind(**_defaults(world, tmp_path, changes))


def _lists(path):
    """Ranked sets of three and of two images: the brighter, the better."""
    sets = []
    for i in range(8):
        images = [picture(i, True), picture(i + 100, False), picture(i + 200, False)][: 3 - i % 2]
        sets.append(RankedSet(f"{i % 5} stars", tuple(images), (1, 2, 2)[: len(images)]))
    write_sets(sets, path)
    return path


def _graded(path, grades):
    rows = [(picture(i + 100 * dark, not dark), grades[dark]) for i in range(8) for dark in (0, 1)]
    write_graded([GradedImage(f"{i % 5} stars", image, grade) for i, (image, grade) in enumerate(rows)], path)
    return path


def _defaults(world, tmp_path, changes):
    return {
        "model": str(world["eps"]),
        "preferences": str(world["pairs"]),
        "out": tmp_path / "run",
        "cache": world["cache"],
        "device": "cpu",
        "precision": "fp32",
        "steps": 6,
        "batch": 4,
        "lr": 1e-3,
        "log_every": 2,
        **changes,
    }
