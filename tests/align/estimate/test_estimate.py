"""`palate align METHOD --estimate`, and the refusal of a run that does not fit."""

import json

import pytest

from palate.align.estimate import check, estimate, machine
from palate.align.stage import align
from palate.cli.main import main
from palate.core.errors import InputError


def words(world, out, *more):
    flags = ["--model", world["eps"], "--preferences", world["pairs"], "--out", out, "--batch", 4, "--steps", 6]
    return ["align", "dpo", *map(str, [*flags, "--device", "cpu", "--precision", "fp32", *more])]


def test_the_command_prints_a_table_and_leaves_no_run_folder(world, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("palate.align.estimate.calibrate.BUDGET", 0.5)
    assert main(words(world, tmp_path / "run", "--estimate")) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["stage", "device", "memory", "weights", "state", "working", "operations", "time"]
    assert [line.split()[0] for line in lines[1:4]] == ["encode", "reference", "train"]
    assert any("less memory: give --micro-batch 1 or --gradient-checkpointing" in line for line in lines)
    assert main(words(world, tmp_path / "run", "--estimate-json")) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["memory"] == max(stage["memory"] for stage in found["stages"])
    assert found["seconds"] == pytest.approx(found["start"] + sum(stage["seconds"] for stage in found["stages"]))
    assert not (tmp_path / "run").exists()


def test_a_card_that_is_too_small_is_refused_in_one_line_before_anything_is_loaded(dpo_config, tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "available_memory", lambda device: 2**20)
    monkeypatch.setattr(estimate, "available_memory", lambda device: 2**20)
    monkeypatch.setattr("palate.align.encoders.load_denoiser", lambda *_, **__: pytest.fail("encoders were loaded"))
    with pytest.raises(InputError, match="--no-check-memory") as raised:
        align(dpo_config())
    assert "\n" not in str(raised.value) and "1 MiB are free on cpu" in str(raised.value)
    assert not (tmp_path / "run").exists()


def test_a_user_can_try_nevertheless_and_a_small_model_is_not_traced(dpo_config, tmp_path, monkeypatch):
    monkeypatch.setattr(estimate, "trace_stages", lambda *_: pytest.fail("a trace was made"))
    assert align(dpo_config(steps=1)).is_dir()
    monkeypatch.setattr(machine, "available_memory", lambda device: 2**20)
    assert align(dpo_config(steps=1, check_memory=False, out=tmp_path / "again")).is_dir()


def test_a_run_that_may_just_fit_is_only_noted(dpo_config, monkeypatch, capsys):
    needed = estimate.estimate_run(dpo_config(), times=False).memory
    for module in (machine, estimate):
        monkeypatch.setattr(module, "available_memory", lambda device: needed)
    monkeypatch.setattr(check, "SMALL", 0.0)
    config = dpo_config(steps=1)
    assert align(config).is_dir()
    assert "may run out of memory" in capsys.readouterr().err


def test_the_parts_of_a_small_model_are_done_and_not_computed_from_their_operations(dpo_config, monkeypatch):
    monkeypatch.setattr(estimate, "calibrate", lambda *_: pytest.fail("operations were timed"))
    seconds = {"image": 1.0, "prompts": 10.0, "forward": 100.0, "micro-batch": 1000.0, "update": 10000.0}
    real = estimate.real_seconds
    found = []

    def timed(*given):
        found.append(real(*given))
        return seconds

    monkeypatch.setattr(estimate, "real_seconds", timed)
    config = dpo_config(steps=3, batch=4, micro_batch=2)
    encode, reference, train = estimate.estimate_run(config).stages
    assert found[0].keys() == {"load", *seconds} and all(value > 0 for value in found[0].values())
    assert train.seconds == pytest.approx(3 * 2 * 1000 + 3 * 10000)
    assert reference.seconds and 0 < reference.seconds < 1 + 100 * (3 * 4 * 2) / (4 * 2)  # pairs share images
    assert encode.seconds == pytest.approx(32 + 10, abs=1)  # a batch of images, filled up to 32, and one of prompts
