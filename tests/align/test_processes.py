"""Several processes of one machine take the steps of one."""

import json
import subprocess
import sys

import pytest
import torch
from forked import two_of
from safetensors.torch import load_file
from shapes import mixed_pairs
from trained import run

from palate.align.methods import method_config
from palate.core.config import dump


def test_two_processes_with_batches_of_four_equal_one_with_eight_up_to_rounding(dpo_config, tmp_path):
    """The images have several shapes, so the processes make unequally many forward passes."""
    runs, preferences = {}, str(mixed_pairs(tmp_path / "pairs.parquet"))
    for processes in (1, 2):
        cache = tmp_path / f"cache {processes}"
        data = {"preferences": preferences, "cache": cache, "out": tmp_path / f"run {processes}"}
        config = dpo_config(batch=8, steps=4, train="full", optimizer="adafactor", **data)
        dump(config, tmp_path / "config.yaml")
        if processes == 1:
            run(config)
        else:
            two_of(["align", "dpo", "--config", str(tmp_path / "config.yaml")], tmp_path)
        runs[processes] = config.out
    one, two = (load_file(each / "model" / "unet" / "diffusion_pytorch_model.safetensors") for each in runs.values())
    for name in one:
        # Gradients are summed in another order: float32 rounding, carried through four updates of size 1e-3.
        torch.testing.assert_close(one[name], two[name], atol=2e-5, rtol=1e-4)
    last = [json.loads((each / "metrics.jsonl").read_text().splitlines()[-1]) for each in runs.values()]
    assert abs(last[0]["error_winner"] - last[1]["error_winner"]) < 1e-4 * last[0]["error_winner"]


@pytest.mark.slow
def test_two_processes_in_float16_skip_a_step_together(dpo_config, tmp_path):
    config = dpo_config(batch=8, steps=9, log_every=1, beta=2e4, precision="fp16")
    dump(config, tmp_path / "config.yaml")
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command = [sys.executable, *launcher, "-m", "palate", "align", "dpo", "--config", str(tmp_path / "config.yaml")]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    found = [json.loads(line) for line in (config.out / "metrics.jsonl").read_text().splitlines()]
    skipped = [line["skipped"] for line in found]  # the mean over both processes
    assert set(skipped) == {0.0, 1.0}
    halvings = [sum(skipped[:step]) for step in range(len(skipped))]
    assert [line["loss_scale"] for line in found] == [65536 / 2**each for each in halvings]


@pytest.mark.slow
@pytest.mark.parametrize("method, changes", [("dpo", {"beta": "auto"}), ("linear_dpo", {"reference_ema": 0.9})])
def test_what_a_method_averages_over_steps_does_not_depend_on_the_processes(config_of, tmp_path, method, changes):
    runs, settings = [], {**changes, "batch": 8, "steps": 5, "log_every": 1, "train": "full", "safeguard": 0.5}
    for processes in (1, 2):
        out = tmp_path / f"run {processes}"
        config = config_of(method_config(method), **settings, optimizer="adafactor", out=out)
        dump(config, tmp_path / "config.yaml")
        if processes == 1:
            run(config)
        else:
            two_of(["align", method, "--config", str(tmp_path / "config.yaml")], tmp_path)
        runs.append([json.loads(line) for line in (config.out / "metrics.jsonl").read_text().splitlines()])
    for one, two in zip(*runs, strict=True):
        del one["accuracy"], two["accuracy"]  # at first a matter of rounding
        assert one == pytest.approx(two, rel=5e-2, abs=5e-3)
