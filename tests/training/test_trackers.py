"""Metrics reach each of accelerate's real trackers, offline; a tracker that is not installed is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from accelerate import Accelerator

from palate.core.errors import ConfigError
from palate.training.accelerator import make_accelerator
from palate.training.config import TrainingConfig
from palate.training.step_loop import StepLoop
from palate.training.trackers import flat, tracked

VALUES = {"loss": 0.5, "lr": 1e-4}


@pytest.fixture(autouse=True)
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No server, no account, and nothing written outside the test's folder."""
    for name, value in {
        "WANDB_MODE": "offline",
        "WANDB_SILENT": "true",
        "WANDB_CACHE_DIR": str(tmp_path / "wandb-cache"),
        "WANDB_CONFIG_DIR": str(tmp_path / "wandb-config"),
        "TRACKIO_DIR": str(tmp_path / "trackio"),
    }.items():
        monkeypatch.setenv(name, value)


def sent(out: Path, tracker: str) -> Accelerator:
    out.mkdir()
    config = TrainingConfig(out=out, device="cpu", tracker=tracker)  # pyright: ignore[reportArgumentType]
    accelerator = make_accelerator("cpu", tracker, out)
    with tracked(accelerator, config):
        for step in (1, 2):
            accelerator.log(VALUES, step=step)
    return accelerator


@pytest.mark.filterwarnings("default")
def test_tensorboard_has_the_metrics_and_the_configuration(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    sent(tmp_path / "run", "tensorboard")
    files = sorted((tmp_path / "run" / "palate").rglob("events.out.tfevents*"))
    read = [EventAccumulator(str(file)).Reload() for file in files]
    scalars = {tag: events.Scalars(tag) for events in read for tag in events.Tags()["scalars"]}
    assert [(each.step, each.value) for each in scalars["loss"]] == [(1, 0.5), (2, 0.5)]
    settings = next((tmp_path / "run" / "palate").rglob("hparams.yml")).read_text()
    assert "batch: 64" in settings and f"out: {tmp_path / 'run'}" in settings


@pytest.mark.filterwarnings("default")
def test_wandb_writes_its_offline_run_into_the_run_folder(tmp_path):
    wandb = pytest.importorskip("wandb")
    sent(tmp_path / "run", "wandb")
    wandb.teardown()  # its service writes in another process
    (record,) = (tmp_path / "run" / "wandb").glob("offline-run-*/*.wandb")
    data = record.read_bytes()
    assert b"loss" in data and b"checkpoint_every" in data


@pytest.mark.filterwarnings("default")
def test_trackio_has_the_metrics_in_its_own_database(tmp_path):
    pytest.importorskip("trackio", reason="the pinned pillow is newer than trackio allows")
    import sqlite3

    sent(tmp_path / "run", "trackio")
    (database,) = (tmp_path / "trackio").glob("palate*.db")
    with sqlite3.connect(database) as connection:
        rows = connection.execute("SELECT run_name, step, metrics FROM metrics ORDER BY step").fetchall()
    assert [(name, step) for name, step, _ in rows] == [("run", 1), ("run", 2)]
    assert json.loads(rows[0][2]) == VALUES


def test_without_a_tracker_nothing_is_started(tmp_path):
    accelerator = make_accelerator("cpu")
    with tracked(accelerator, TrainingConfig(out=tmp_path)):
        assert accelerator.trackers == []


@pytest.mark.parametrize("tracker", ["tensorboard", "wandb", "trackio"])
def test_a_tracker_that_is_not_installed_is_refused_with_what_to_do(tracker, monkeypatch):
    monkeypatch.setattr("palate.training.trackers.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=rf"the tracker {tracker} is not installed; pip install 'palate\[track\]'"):
        make_accelerator("cpu", tracker)


def test_settings_are_flattened_to_what_every_tracker_takes():
    nested = {"a": {"b": 1, "c": {"d": ["x", "y"]}}, "e": None, "f": True, "g": 0.5, "h": []}
    assert flat(nested) == {"a.b": 1, "a.c.d": "x y", "e": "none", "f": True, "g": 0.5, "h": ""}


def test_a_fold_without_a_run_folder_sends_nothing(tmp_path, monkeypatch):
    accelerator = make_accelerator("cpu")
    monkeypatch.setattr(accelerator, "log", lambda *_, **__: pytest.fail("sent"))
    StepLoop(TrainingConfig(out=tmp_path, steps=1), {}, accelerator)._log(1)
