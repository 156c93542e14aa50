"""Runs that are interrupted and resumed end with the same weights, and never continue another run's folder."""

import os
import signal

import pytest
from trained import assert_same_weights, lines, run, run_until_interrupted

from palate.align.batches import Batches
from palate.core.errors import RunFolderError
from palate.prefer.load import load_preferences
from palate.records.parquet import write_sets


@pytest.mark.parametrize(
    "train, optimizer",
    [
        ("lora", "adamw"),
        ("full", "adafactor"),
        pytest.param("lora", "adafactor", marks=pytest.mark.slow),
        pytest.param("full", "adamw", marks=pytest.mark.slow),
    ],
)
def test_an_interrupted_run_resumes_bit_for_bit(dpo_config, tmp_path, monkeypatch, train, optimizer):
    common = {"train": train, "optimizer": optimizer, "steps": 9, "log_every": 2, "batch": 5, "draws": 2}
    undisturbed = run(dpo_config(**common))
    config = dpo_config(**common, out=tmp_path / "disturbed", checkpoint_every=4)
    run_until_interrupted(config, monkeypatch, at=7)
    resumed = run(config)
    assert_same_weights(undisturbed, resumed)
    assert lines(undisturbed) == lines(resumed)


def test_ctrl_c_leaves_a_checkpoint_of_the_last_whole_step(dpo_config, tmp_path, monkeypatch):
    step = Batches.make
    calls = []

    def press(self, *arguments):
        calls.append(1)
        if len(calls) == 3:
            os.kill(os.getpid(), signal.SIGINT)
        return step(self, *arguments)

    undisturbed = run(dpo_config(steps=8))
    config = dpo_config(steps=8, out=tmp_path / "pressed")
    with monkeypatch.context() as patch:
        patch.setattr(Batches, "make", press)
        with pytest.raises(KeyboardInterrupt):
            run(config)
    assert [path.name for path in (config.out / "checkpoints").iterdir()] == ["step-3"]
    assert_same_weights(undisturbed, run(config))


def test_a_finished_run_is_not_run_again(dpo_config, monkeypatch):
    config = dpo_config()
    folder = run(config)
    monkeypatch.setattr("palate.align.stage.assemble", lambda *_: pytest.fail("ran again"))
    assert run(config) == folder


def test_a_run_folder_of_another_configuration_is_refused(dpo_config, sft_config):
    run(dpo_config())
    with pytest.raises(RunFolderError, match=r"beta: 2000.0 there, 500.0 now"):
        run(dpo_config(beta=500.0))
    with pytest.raises(RunFolderError, match=r"stage: align dpo there, align sft now"):
        run(sft_config())


def test_preferences_that_changed_under_a_run_are_refused(world, dpo_config, tmp_path):
    sets = load_preferences(world["pairs"])
    write_sets(sets, tmp_path / "pairs.parquet")
    config = dpo_config(preferences=str(tmp_path / "pairs.parquet"))
    run(config)
    write_sets(sets[:-1], tmp_path / "pairs.parquet")
    with pytest.raises(RunFolderError, match=r"inputs.preferences: \w+ there, \w+ now"):
        run(config)
