"""Results of experiments on tiny-sd, one JSON line each, so that an interrupted experiment goes on where it stopped."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from palate.align.config import AlignConfig
from palate.align.stage import align
from palate.core.statistics import Estimate, difference
from palate.generate.stage import GenerateConfig, generate
from palate.records.image_folder import read_image_folder
from palate.score.load import load_scorer

MEASURED = Path(__file__).parents[1] / "docs" / "measured"
UNSEEN, IMAGES = 96, 1
"""Unseen prompts, and images of each by every model; the auditor judges them."""


def rows_of(name: str) -> list[dict[str, Any]]:
    """The results of an experiment so far."""
    path = MEASURED / f"{name}.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def add_row(name: str, row: Mapping[str, Any]) -> None:
    """Adds a result; several processes may do so at the same time."""
    MEASURED.mkdir(parents=True, exist_ok=True)
    with (MEASURED / f"{name}.jsonl").open("a") as file:
        file.write(json.dumps(row) + "\n")


def faithful(model: str, out: Path) -> np.ndarray:
    """The auditor's verdicts [P, N] on a model's images of unseen prompts, 1 or 0."""
    drawn = GenerateConfig(model=model, prompts="unseen", limit=UNSEEN, images=IMAGES, seed=9, batch=32, out=out)
    records = read_image_folder(generate(drawn))
    verdicts = load_scorer("auditor:faithful")([each.image.open() for each in records], [r.prompt for r in records])
    return verdicts.view(UNSEEN, IMAGES).numpy()


def measure(config: AlignConfig) -> dict[str, Any]:
    """Trains, and measures what a user wants to know.

    Returns:
        `verdicts`, the number of right images of each prompt as digits; `seconds` of training; `diagnosis`; and of the
        last tenth of the steps `rises`, how much both errors are above the base model's in per cent, where the method
        measures these, `accuracy`, and `beta` where it adjusts itself.
    """
    begun = time.perf_counter()
    run = align(config)
    summary = json.loads((run / "summary.json").read_text())
    late, rises = summary["last_tenth"], {}
    for role in ("winner", "loser"):
        if f"error_ref_{role}" in late:
            rises[role] = round(100 * (late[f"error_{role}"] / late[f"error_ref_{role}"] - 1), 2)
    seconds = time.perf_counter() - begun
    extra = {name: round(late[name], 4) for name in ("accuracy", "beta") if name in late}
    found = {"rises": rises, **extra, "seconds": round(seconds, 1), "diagnosis": summary["diagnosis"]["name"]}
    return {**found, "verdicts": _digits(faithful(str(run), run / "unseen"))}


def gain(base: np.ndarray, rows: Sequence[Mapping[str, Any]]) -> Estimate:
    """The gain in the faithful rate over the base model's verdicts [P, N], with the mean over seeds for each prompt."""
    found = np.stack([[int(digit) for digit in row["verdicts"]] for row in rows], 1) / base.shape[1]
    return difference(base, found)


def base_verdicts(folder: Path | None = None) -> np.ndarray:
    """The auditor's verdicts [P, N] on tiny-sd itself; drawn and kept in docs/measured/ if a folder is given."""
    if folder and not rows_of("tiny-sd"):
        add_row("tiny-sd", {"verdicts": _digits(faithful("tiny-sd", folder / "base"))})
    (row,) = rows_of("tiny-sd")
    return np.array([int(digit) for digit in row["verdicts"]])[:, None] / IMAGES


def _digits(verdicts: np.ndarray) -> str:
    return "".join(str(int(each)) for each in verdicts.sum(1))
