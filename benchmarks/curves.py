"""Draws the pictures of docs/align.md: the curves of a real run for each diagnosis.

    python benchmarks/curves.py runs/curves

Runs each of `recipes/curves/*.yaml` (finished runs are not repeated), prints its diagnosis and time, and draws
`docs/curves/NAME.png`.
"""

from __future__ import annotations

import dataclasses
import io
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from palate.align.methods.dpo import DPOConfig
from palate.align.stage import align
from palate.core.config import load

ROOT = Path(__file__).parents[1]
RECIPES, PICTURES = ROOT / "recipes" / "curves", ROOT / "docs" / "curves"
COLOURS = {"training": "#a4246b", "held-out": "#2563a8", "winner": "#a4246b", "loser": "#2563a8"}


def main(folder: Path) -> None:
    """Runs all recipes into a folder and draws their pictures."""
    PICTURES.mkdir(exist_ok=True)
    for recipe in sorted(RECIPES.glob("*.yaml")):
        start = time.perf_counter()
        run = align(dataclasses.replace(load(DPOConfig, recipe), out=folder / recipe.stem))
        found = json.loads((run / "summary.json").read_text())["diagnosis"]
        print(f"{recipe.stem}: {time.perf_counter() - start:.0f} s, {found['name']}: {found['evidence']}")
        draw_curves(run, PICTURES / f"{recipe.stem}.png")


def draw_curves(run: Path, path: Path) -> None:
    """Draws accuracy, loss and errors of a run as one picture of three panels."""
    from matplotlib.figure import Figure

    lines, rows = (read_lines(run / name) for name in ("metrics.jsonl", "validation.jsonl"))
    figure = Figure(figsize=(9.6, 2.6), layout="constrained")
    accuracy, loss, error = figure.subplots(1, 3)
    held_out = [{"step": row["step"], **row["held_out"]} for row in rows]
    for axes, name in ((accuracy, "accuracy"), (loss, "loss")):
        plot(axes, lines, "training", name)
        plot(axes, held_out, "held-out", name, marker="o", markersize=3)
    ends = [[row[f"accuracy_{end}"] for row in held_out] for end in ("low", "high")]
    accuracy.fill_between([row["step"] for row in held_out], *ends, color=COLOURS["held-out"], alpha=0.15, linewidth=0)
    accuracy.axhline(0.5, color="0.5", linewidth=0.8, linestyle="--")
    for role in ("winner", "loser"):
        rises = [
            {"step": line["step"], role: 100 * (line[f"error_{role}"] / line[f"error_ref_{role}"] - 1)}
            for line in lines
        ]
        plot(error, rises, role, role)
    error.axhline(0, color="0.5", linewidth=0.8, linestyle="--")
    titles = ("implicit accuracy", "loss", "error above the base model's, %")
    for axes, title in zip((accuracy, loss, error), titles):
        axes.set_title(title, fontsize=9, loc="left")
        axes.tick_params(labelsize=8)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(fontsize=8, frameon=False)
        axes.set_xlabel("step", fontsize=8)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100)
    Image.open(buffer).convert("RGB").convert("P", palette=Image.Palette.ADAPTIVE, colors=64).save(path, optimize=True)


def plot(axes: Any, rows: list[dict[str, Any]], label: str, name: str, **style: Any) -> None:
    """One line; the training's is smoothed, with its values faint behind it."""
    step, values = (np.array([row[key] for row in rows]) for key in ("step", name))
    if label == "held-out":
        axes.plot(step, values, color=COLOURS[label], label=label, linewidth=1.6, **style)
        return
    axes.plot(step, values, color=COLOURS[label], alpha=0.3, linewidth=0.8)
    window = np.ones(3)
    smooth = np.convolve(values, window, "same") / np.convolve(np.ones_like(values), window, "same")
    axes.plot(step, smooth, color=COLOURS[label], label=label, linewidth=1.6)


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The rows of a JSON-lines file."""
    return [json.loads(line) for line in path.read_text().splitlines()]


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/curves"))
