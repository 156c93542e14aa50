"""Measures how time and memory of import, start and steps grow with the number of pairs.

    python benchmarks/growth.py [--pairs 10000 100000 1000000] [--folder /tmp/growth] [--steps 30] [--in-place]

For each number of pairs, on 64 x 64 pictures in files with Pick-a-Pic's schema:

- `import`: `palate prefer import`, every picture decoded once (aim: one pass, under 1 GB of memory);
- `first`: `palate align dpo` of tiny-sd, which also encodes the images and prompts of its steps;
- `second`: the same with another beta, from the command to the end of its first step (aim at a million: under 60 s and
  3 GB), and the steps themselves (aim: time and memory within 10% for any number of pairs).

With `--in-place` the files are not imported but indexed where they are, by the first training.

Memory is the peak of a process's resident set as the kernel counts it (VmHWM; the peak of `getrusage` would begin with
that of this program); `grown` is how much it grew over the steps. The result is a table.
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from palate.prefer.formats.pickapic import schema

PICTURES, PER_PROMPT, PER_FILE, PER_GROUP = 4096, 14, 100_000, 1000
"""Distinct pictures; pairs per prompt, as in Pick-a-Pic v2; rows per file and per row group."""


def main() -> None:
    parser = argparse.ArgumentParser(description="Times import, start and steps by the number of pairs.")
    parser.add_argument("--pairs", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--folder", type=Path, help="where data and runs are written; a temporary folder when left out")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--in-place", action="store_true", help="index the files instead of importing them")
    options = parser.parse_args()
    print(f"{'pairs':>9}  {'what':8}{'seconds':>9}{'peak MB':>9}{'step ms':>9}{'grown MB':>10}", flush=True)
    for pairs in options.pairs:
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            for what, run in measured(Path(folder), pairs, options):
                steps = f"{1e3 * run.step:9.0f}{run.grown / 1e6:10.1f}" if run.steps else ""
                print(f"{pairs:9}  {what:8}{run.seconds:9.1f}{run.peak / 1e6:9.0f}{steps}", flush=True)


def measured(folder: Path, pairs: int, options: argparse.Namespace) -> Iterator[tuple[str, Run]]:
    """The cost of each command, by its name."""
    source = folder / "pickapic"
    write_pairs(source, pairs)
    environment = os.environ | {"PALATE_CACHE": str(folder / "cache"), "PALATE_PROGRESS": "0"}
    if not options.in_place:
        yield "import", run(["prefer", "import", "--source", source, "--out", folder / "set"], environment)
        shutil.rmtree(source)
    data = source if options.in_place else folder / "set"
    common = ["align", "dpo", "--model", "tiny-sd", "--preferences", data, "--log-every", 1, "--device", "cpu"]
    common += ["--steps", options.steps, "--batch", options.batch, "--precision", "fp32"]
    for name, beta in (("first", 2000), ("second", 1000)):
        out = folder / name
        yield name, run([*common, "--beta", beta, "--out", out], environment, out / "metrics.jsonl")


@dataclass
class Run:
    """The cost of a command.

    Attributes:
        seconds: to its end, or where it trains, to the end of its first step.
        peak: the largest resident set, in bytes.
        steps: when each step was logged, in seconds.
        resident: the resident set then, in bytes.
    """

    seconds: float = 0.0
    peak: int = 0
    steps: list[float] = field(default_factory=list)
    resident: list[int] = field(default_factory=list)

    @property
    def step(self) -> float:
        """The median time of a step, without the first two."""
        return statistics.median(b - a for a, b in zip(self.steps[1:], self.steps[2:]))

    @property
    def grown(self) -> int:
        """How much the resident set grew over the steps, the first two aside."""
        return self.resident[-1] - self.resident[1]


def run(words: list[object], environment: dict[str, str], metrics: Path | None = None) -> Run:
    """Runs a command of Palate, watching the lines of its metrics."""
    found, begun = Run(), time.monotonic()
    command = [sys.executable, "-m", "palate", *map(str, words)]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    while True:
        found.peak = max(found.peak, peak(process.pid))
        pid, status = os.waitpid(process.pid, os.WNOHANG)
        lines = metrics.read_bytes().count(b"\n") if metrics and metrics.exists() else 0
        if lines > len(found.steps):
            found.steps.append(time.monotonic() - begun)
            found.resident.append(found.resident[-1] if pid else resident(process.pid))
        if pid:
            break
        time.sleep(0.005)
    process.returncode = os.waitstatus_to_exitcode(status)  # so that Popen does not look for it again
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    found.seconds = found.steps[0] if found.steps else time.monotonic() - begun
    return found


def resident(pid: int) -> int:
    """The resident set of a process, in bytes."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def peak(pid: int) -> int:
    """The largest resident set of a process since it began, in bytes; 0 where it has ended."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM")), 0)


def write_pairs(folder: Path, pairs: int) -> None:
    """Files with Pick-a-Pic's schema; every picture has different bytes."""
    folder.mkdir()
    pictures = [picture(number) for number in range(PICTURES)]
    rng = np.random.default_rng(0)
    for number, first in enumerate(range(0, pairs, PER_FILE)):
        rows = np.arange(first, min(first + PER_FILE, pairs))
        won = rng.integers(0, 2, len(rows)).astype(float)
        columns: dict[str, object] = {
            "are_different": [True] * len(rows),
            "has_label": [True] * len(rows),
            "caption": [f"prompt {row // PER_PROMPT}, a painting of a quiet harbour at dawn" for row in rows],
            "label_0": won,
            "label_1": 1 - won,
            "user_id": rng.integers(0, 4000, len(rows)),
            "ranking_id": rows,
        }
        for side in (0, 1):  # bytes after the end of a JPEG are not decoded
            columns[f"jpg_{side}"] = [pictures[(7 * row + side) % PICTURES] + b"%d" % (2 * row + side) for row in rows]
            columns[f"model_{side}"] = ["some/model"] * len(rows)
        fields = [each for each in schema() if each.name in columns]
        table = pa.table({each.name: pa.array(columns[each.name], each.type) for each in fields})
        pq.write_table(table, folder / f"train-{number:05}.parquet", row_group_size=PER_GROUP)


def picture(number: int) -> bytes:
    """A small JPEG of smooth noise, of about a kilobyte."""
    pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    data = io.BytesIO()
    Image.fromarray(pixels).resize((64, 64), Image.Resampling.BICUBIC).save(data, "JPEG", quality=75)
    return data.getvalue()


if __name__ == "__main__":
    main()
