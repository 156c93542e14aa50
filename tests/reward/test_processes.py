"""Several processes of one machine learn the reward of one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from forked import two_of
from reward.conftest import PROMPTS, picture

from palate.core.config import dump
from palate.reward.stage import train_reward
from palate.score.reward import RewardScorer


@pytest.mark.parametrize("train", ["head", "full"])
def test_two_processes_with_batches_of_four_learn_the_same_as_one_with_eight_up_to_rounding(rankings, tmp_path, train):
    runs = {}
    for processes in (1, 2):
        cache, out = tmp_path / f"cache {processes}", tmp_path / f"run {processes}"
        folds = 2 if train == "head" else 0
        config = rankings(
            batch=8, steps=4, log_every=4, train=train, folds=folds, cache=cache, out=out, precision="fp32"
        )
        dump(config, tmp_path / "config.yaml")
        if processes == 1:
            train_reward(config)
        else:
            two_of(["reward", "train", "bradley_terry", "--config", str(tmp_path / "config.yaml")], tmp_path)
        runs[processes] = out
    images = [picture(number, level) for number, level in enumerate((60, 130, 200))]
    scores = [RewardScorer(str(run))([image.open() for image in images], PROMPTS[:3]) for run in runs.values()]
    # Gradients are summed in another order, and AdamW makes a step of a gradient that is rounding alone.
    torch.testing.assert_close(*scores, atol=0.02 * (scores[0].max() - scores[0].min()).item(), rtol=0)
    summaries = [json.loads((run / "summary.json").read_text()) for run in runs.values()]
    assert summaries[0]["held out"]["pairs"] == summaries[1]["held out"]["pairs"]
    last = [json.loads((run / "metrics.jsonl").read_text().splitlines()[-1]) for run in runs.values()]
    assert last[0]["loss"] == pytest.approx(last[1]["loss"], rel=1e-4)


def test_two_processes_stop_together_on_ctrl_c_and_resume(rankings, tmp_path):
    steps = 400
    config = rankings(batch=4, steps=steps, log_every=20, checkpoint_every=10_000, precision="fp32")
    dump(config, tmp_path / "config.yaml")
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command = [sys.executable, *launcher, "-m", "palate", "reward", "train", "bradley_terry"]
    command += ["--config", str(tmp_path / "config.yaml")]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    while not (config.out / "metrics.jsonl").is_file() and process.poll() is None:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    _, stderr = process.communicate(timeout=300)
    assert process.returncode != 0 and not (config.out / "summary.json").exists(), stderr
    (checkpoint,) = (config.out / "checkpoints").iterdir()
    stopped = int(checkpoint.name.removeprefix("step-"))
    assert 0 < stopped < steps
    two_of(["reward", "train", "bradley_terry", "--config", str(tmp_path / "config.yaml")], tmp_path)
    found = [json.loads(line)["step"] for line in (config.out / "metrics.jsonl").read_text().splitlines()]
    assert found == list(range(20, steps + 1, 20))
