from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch

from palate import __version__
from palate.core import runs
from palate.core.errors import RunFolderError
from palate.core.runs import RunFolder, read_config


@dataclass(frozen=True)
class Optimizer:
    learning_rate: float = 1e-4


@dataclass(frozen=True)
class Config:
    model: str = "tiny-sd"
    out: Path = Path("runs/a")
    batch_size: int = 8
    optimizer: Optimizer = field(default_factory=Optimizer)


@pytest.fixture
def run(tmp_path) -> RunFolder:
    return RunFolder.open(tmp_path / "run", "align dpo", Config())


def test_a_new_run_folder_holds_stage_version_and_configuration(run):
    assert read_config(run.path) == {
        "stage": "align dpo",
        "palate": __version__,
        "model": "tiny-sd",
        "out": "runs/a",
        "batch_size": 8,
        "optimizer": {"learning_rate": 1e-4},
    }


def test_other_inputs_under_the_same_names_are_refused(tmp_path):
    RunFolder.open(tmp_path, "generate", Config(), inputs={"model": "5f0e"})
    with pytest.raises(RunFolderError, match="inputs.model: 5f0e there, 77aa now"):
        RunFolder.open(tmp_path, "generate", Config(), inputs={"model": "77aa"})
    assert RunFolder.open(tmp_path, "generate", Config(), inputs={"model": "5f0e"}).path == tmp_path


def test_the_same_run_is_opened_again(run):
    run.log(1, loss=0.5)
    assert RunFolder.open(run.path, "align dpo", Config()).metrics() == run.metrics()


def test_an_empty_folder_becomes_a_run_folder_even_with_remains_of_a_killed_one(tmp_path):
    (tmp_path / ".config.yaml.0123abcd.part").touch()
    assert RunFolder.open(tmp_path, "score", Config()).path == tmp_path


def test_another_configuration_is_refused_with_each_key_and_both_values(run):
    other = Config(model="mine", batch_size=4, optimizer=Optimizer(1e-3))
    with pytest.raises(RunFolderError) as caught:
        RunFolder.open(run.path, "align dpo", other, free=("batch_size",))
    head, *lines = str(caught.value).splitlines()
    assert "holds another run; name another folder" in head
    assert lines == ["  model: tiny-sd there, mine now", "  optimizer.learning_rate: 0.0001 there, 0.001 now"]


def test_another_stage_is_refused(run):
    with pytest.raises(RunFolderError, match="stage: align dpo there, align sft now"):
        RunFolder.open(run.path, "align sft", Config())


def test_a_key_that_only_one_of_two_versions_knows_is_a_difference(run):
    file = run.path / "config.yaml"
    file.write_text(file.read_text().replace("batch_size", "size"))
    with pytest.raises(RunFolderError) as caught:
        RunFolder.open(run.path, "align dpo", Config())
    assert "size: 8 there, (absent) now" in str(caught.value)
    assert "batch_size: (absent) there, 8 now" in str(caught.value)


def test_free_fields_may_differ_and_the_last_values_are_kept(run):
    other = Config(batch_size=4, optimizer=Optimizer(1e-3))
    RunFolder.open(run.path, "align dpo", other, free=("batch_size", "optimizer"))
    assert (read_config(run.path) or {})["batch_size"] == 4


def test_a_newer_version_of_palate_goes_on_with_the_run(run):
    file = run.path / "config.yaml"
    file.write_text(file.read_text().replace(f"palate: {__version__}", "palate: 0.0.1"))
    RunFolder.open(run.path, "align dpo", Config())
    assert (read_config(run.path) or {})["palate"] == __version__


def test_a_folder_of_other_things_is_refused_and_left_alone(tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(
        RunFolderError, match=r"is not a run folder, and it is not empty \(thesis.tex, ...\); name a new folder"
    ):
        RunFolder.open(tmp_path, "score", Config())
    assert [each.name for each in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_file_is_no_run_folder(tmp_path):
    (tmp_path / "a").touch()
    with pytest.raises(RunFolderError, match="is a file; name a folder for the run"):
        RunFolder.open(tmp_path / "a", "score", Config())


@pytest.mark.parametrize("text, message", [("model: m\n", "has no 'stage', so"), ("[", "delete this one")])
def test_a_config_that_no_run_wrote_is_refused(tmp_path, text, message):
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(RunFolderError, match=message):
        RunFolder.open(tmp_path, "score", Config())


def test_metrics_are_logged_in_order_whatever_number_they_are(run):
    run.log(1, loss=torch.tensor(0.5), accuracy=np.float32(0.25), n=np.int64(3), rate=1, note="x", grad=math.inf)
    run.log(2, loss=torch.tensor([float("nan")]))
    assert run.metrics() == [
        {"step": 1, "loss": 0.5, "accuracy": 0.25, "n": 3, "rate": 1, "note": "x", "grad": None},
        {"step": 2, "loss": None},
    ]


def test_a_new_run_has_no_metrics_and_no_summary(run):
    assert run.metrics() == []
    assert run.finished is None
    assert run.timings == {}


def test_rewinding_drops_later_steps_and_a_half_written_line(run):
    for step in range(1, 6):
        run.log(step, loss=1 / step)
    before = run.metrics()
    with open(run.path / "metrics.jsonl", "a") as file:
        file.write('{"step": 6, "lo')
    assert run.metrics() == before
    run.rewind(3)
    assert run.metrics() == before[:3]
    assert (run.path / "metrics.jsonl").read_bytes().endswith(b"\n")


def test_opening_a_killed_run_mends_its_last_line_so_that_logging_goes_on(run):
    run.log(1, loss=0.5)
    with open(run.path / "metrics.jsonl", "a") as file:
        file.write('{"step": 2')
    RunFolder.open(run.path, "align dpo", Config()).log(2, loss=0.25)
    assert [record["step"] for record in run.metrics()] == [1, 2]


def test_a_line_damaged_in_the_middle_is_told_by_number(run):
    (run.path / "metrics.jsonl").write_text('{"step": 1}\nrubbish\n{"step": 3}\n')
    with pytest.raises(RunFolderError, match=r"metrics.jsonl, line 2 is damaged: b'rubbish'; delete the line"):
        run.metrics()


def test_a_killed_process_loses_no_line_that_was_logged(run):
    program = """
import os, signal, sys
from pathlib import Path
from palate.core.runs import RunFolder
run = RunFolder(Path(sys.argv[1]))
for step in range(3):
    run.log(step)
os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", program, str(run.path)], check=False)
    assert [record["step"] for record in run.metrics()] == [0, 1, 2]


def test_a_finished_run_knows_its_summary(run):
    run.finish({"win_rate": 0.7})
    assert run.finished == {"win_rate": 0.7}


def test_a_damaged_summary_is_told_by_name(run):
    (run.path / "summary.json").write_text("{")
    with pytest.raises(RunFolderError, match="summary.json is damaged: .*; delete it and run again"):
        _ = run.finished


def test_a_timer_adds_up_over_sittings_and_failures(run, monkeypatch):
    clock = iter([0.0, 1.5, 10.0, 12.0])
    monkeypatch.setattr("palate.core.runs.time.perf_counter", lambda: next(clock))
    with run.timer("train"):
        pass
    with pytest.raises(KeyboardInterrupt), RunFolder(run.path).timer("train"):
        raise KeyboardInterrupt
    assert run.timings == {"train": 3.5}


def test_a_folder_that_another_process_of_the_run_makes_at_that_moment_is_opened(tmp_path, monkeypatch):
    """Two shards that start at once: the second looks for a configuration just before the first writes it."""
    RunFolder.open(tmp_path / "run", "train", Config())
    read, looked = runs.read_config, []

    def too_early(path):
        looked.append(path)
        return None if len(looked) == 1 else read(path)

    monkeypatch.setattr(runs, "read_config", too_early)
    RunFolder.open(tmp_path / "run", "train", Config())
    looked.clear()
    with pytest.raises(RunFolderError, match="holds another run"):
        RunFolder.open(tmp_path / "run", "score", Config())
