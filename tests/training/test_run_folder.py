"""One of several processes writes the run folder; the others find it on a disk that they share."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from palate.core.errors import InputError, RunFolderError
from palate.core.runs import RunFolder
from palate.training.config import FREE, TrainingConfig
from palate.training.run_folder import abandoned_on_error, open_run


def process(main: bool, waited: list[bool]) -> Any:
    """The part of an accelerator that is used."""

    @contextmanager
    def first():
        waited.append(main)
        yield

    return SimpleNamespace(is_main_process=main, main_process_first=first)


def contents(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_only_the_first_process_writes(tmp_path):
    config, waited = TrainingConfig(out=tmp_path / "run"), []
    first = open_run(process(True, waited), "train", config, FREE, {})
    first.log(1, loss=0.5)
    before = contents(config.out)
    other = open_run(process(False, waited), "train", config, FREE, {})
    assert waited == [True, False]
    with other.timer("train"):
        other.log(1, loss=0.7)
    other.rewind(0)
    other.finish({"done": True})
    assert contents(config.out) == before and other.finished is None
    with first.timer("train"):
        first.finish({"done": True})
    assert other.finished == {"done": True} and set(other.timings) == {"train"}


def test_a_folder_on_another_nodes_disk_is_refused(tmp_path):
    config = TrainingConfig(out=tmp_path / "run")
    with pytest.raises(RunFolderError, match="is not on the disk of this node; put it on a disk that all nodes share"):
        open_run(process(False, []), "train", config, FREE, {})
    assert not config.out.exists()


def test_a_run_folder_writes_by_default(tmp_path):
    assert RunFolder.open(tmp_path / "run", "train", TrainingConfig(out=tmp_path / "run")).writes


@pytest.mark.parametrize("made, kept", [([], False), (["timings.json"], False), (["metrics.jsonl"], True)])
def test_a_folder_is_free_after_an_error_unless_something_was_trained_in_it(tmp_path, made, kept):
    run = open_run(process(True, []), "train", TrainingConfig(out=tmp_path / "run"), FREE, {})
    for name in made:
        (run.path / name).write_text("")
    with pytest.raises(InputError), abandoned_on_error(run):
        raise InputError("the model cannot be used")
    assert run.path.exists() is kept
    assert (run.path / "config.yaml").exists() is kept


def test_another_process_than_the_first_leaves_the_folder_alone(tmp_path):
    config = TrainingConfig(out=tmp_path / "run")
    open_run(process(True, []), "train", config, FREE, {})
    other = open_run(process(False, []), "train", config, FREE, {})
    with pytest.raises(InputError), abandoned_on_error(other):
        raise InputError("the model cannot be used")
    assert (config.out / "config.yaml").exists()
