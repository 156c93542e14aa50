"""The settings that every training has are checked strictly, and all errors are reported at once."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from palate.align.config import AlignConfig
from palate.reward.config import RewardConfig
from palate.training.config import FREE, TrainingConfig

SHARED = {
    "out", "steps", "batch", "micro_batch", "lr", "warmup", "weight_decay", "clip", "precision", "seed", "device",
    "cache", "log_every", "checkpoint_every", "keep_checkpoints", "tracker", "schedule",
}  # fmt: skip


def config(**changes: object) -> TrainingConfig:
    return TrainingConfig(**{"out": Path("run"), "steps": 10, "lr": 0.1, **changes})  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("kind", [AlignConfig, RewardConfig])
def test_every_training_has_the_shared_fields_by_the_same_names(kind: type[TrainingConfig]) -> None:
    assert issubclass(kind, TrainingConfig) and set(kind.__dataclass_fields__) >= SHARED
    assert set(TrainingConfig.__dataclass_fields__) == SHARED and FREE <= SHARED


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 0}, "steps must be above zero, not 0"),
        ({"lr": math.nan}, "lr must be above zero or left out, not nan"),
        ({"clip": math.nan}, "clip must be above zero, not nan"),
        ({"weight_decay": -0.1}, "weight_decay must be zero or more, not -0.1"),
        ({"warmup": 1.5}, "warmup must be a share between 0 and 1, not 1.5"),
        ({"batch": 6, "micro_batch": 4}, r"batch \(6\) must be a multiple of micro_batch \(4\)"),
        ({"steps": -1, "warmup": 2.0, "keep_checkpoints": 0}, "steps.*; keep_checkpoints.*; warmup"),
    ],
)
def test_impossible_values_are_refused_all_at_once(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        config(**changes)


def test_the_rate_rises_over_the_warm_up_and_is_then_constant() -> None:
    warm = config(warmup=0.5, lr=10.0)
    assert warm.warmup_steps() == 5
    assert [warm.rate(step) for step in (0, 1, 4, 5, 9)] == pytest.approx([2.0, 4.0, 10.0, 10.0, 10.0])


def test_a_rewards_rate_falls_to_zero_after_the_warm_up() -> None:
    falling = RewardConfig(out=Path("run"), steps=10, warmup=0.2, lr=1.0)
    assert [falling.rate(step) for step in (0, 1, 2, 6, 9)] == pytest.approx([0.5, 1.0, 1.0, 0.5, 0.125])


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("constant", [0.05, 0.1, 0.1, 0.1, 0.1, 0.1]),
        ("linear", [0.05, 0.1, 0.1, 0.075, 0.05, 0.025]),
        ("cosine", [0.05, 0.1, 0.1, 0.1 * (1 + 2**-0.5) / 2, 0.05, 0.1 * (1 - 2**-0.5) / 2]),
    ],
)
def test_the_learning_rate_rises_and_then_follows_its_schedule(schedule: str, expected: list[float]) -> None:
    made = config(steps=6, warmup=1 / 3, schedule=schedule)
    assert [made.rate(step) for step in range(6)] == pytest.approx(expected)
