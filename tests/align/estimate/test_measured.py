"""The estimate of a run is within a fifth of what the run then needs, in memory and in time, its caches being empty.

`pytest -m slow -s tests/align/estimate/test_measured.py` prints both; docs/align.md has the last results. The machine
must be quiet, or times say nothing: they are seconds of the clock.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from align.test_true_size import built, peak, sd15, sdxl

pytestmark = pytest.mark.slow
CLOSE = 0.2
TINY = ["--model", "tiny-sd", "--preferences", "tiny-preferences", "--batch", 8, "--steps", 60]
LARGE = ["--resolution", 256, "--batch", 1, "--steps", 3, "--precision", "bf16"]


def run(words: list[Any], *more: str) -> tuple[float, int, str]:
    """Seconds, the peak memory in bytes, and what is printed by a command in a process of its own."""
    command = [sys.executable, "-m", "palate", "align", "dpo", *map(str, words), "--device", "cpu", *more]
    started, highest = time.monotonic(), 0
    process = subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE, text=True)
    while process.poll() is None:
        highest = max(highest, peak(process.pid))
        time.sleep(0.05)
    assert process.returncode == 0 and process.stdout
    with process.stdout as printed:
        return time.monotonic() - started, highest, printed.read()


@pytest.mark.parametrize("name", ["tiny-sd", "tiny-sd-full", "sd15", "sdxl"])
def test_memory_and_time_are_estimated_within_a_fifth(world: dict[str, Path], tmp_path: Path, name: str) -> None:
    if name.startswith("tiny"):
        words: list[Any] = [*TINY, "--train", "full" if name.endswith("full") else "lora"]
    else:
        built({"sd15": sd15, "sdxl": sdxl}[name], tmp_path / "model")
        words = ["--model", tmp_path / "model", "--preferences", world["pairs"], *LARGE]
    words += ["--cache", tmp_path / "cache", "--out", tmp_path / "run"]
    estimated = json.loads(run(words, "--estimate-json")[2])
    seconds, memory, _ = run(words)
    stages = {stage["name"]: round(stage["seconds"], 1) for stage in estimated["stages"]}
    took = json.loads((tmp_path / "run" / "timings.json").read_text())
    print(
        f"\n{name}: memory {estimated['memory'] / 2**30:.2f} and {memory / 2**30:.2f} GiB; "
        f"time {estimated['seconds']:.0f} and {seconds:.0f} s; stages {stages} and {took}"
    )
    assert estimated["memory"] == pytest.approx(memory, rel=CLOSE)
    assert estimated["seconds"] == pytest.approx(seconds, rel=CLOSE)
