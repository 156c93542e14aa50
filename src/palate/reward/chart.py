"""Draws calibration curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from palate.core.files import partial_name


def draw_calibration(curves: Mapping[str, Sequence[Mapping[str, Any]]], path: Path) -> None:
    """Draws the observed shares over the predicted ones, one line per scorer; the diagonal is perfect calibration.

    Args:
        curves: the curve of each scorer, see `Comparisons.calibration`.
        path: the PNG file to write.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 5), layout="constrained")
    axes = figure.add_subplot(
        xlabel="predicted share of raters", ylabel="observed share of raters", xlim=(0.5, 1), ylim=(0, 1)
    )
    axes.plot([0.5, 1], [0.5, 1], color="0.6", linestyle="--", label="calibrated")
    for spec, curve in curves.items():
        total = sum(each["pairs"] for each in curve)
        (line,) = axes.plot([each["predicted"] for each in curve], [each["seen"] for each in curve], label=spec)
        sizes = [10 + 300 * each["pairs"] / total for each in curve]
        axes.scatter(*zip(*((each["predicted"], each["seen"]) for each in curve)), s=sizes, color=line.get_color())
    axes.legend(fontsize="small")
    partial = partial_name(path)
    try:
        figure.savefig(partial, format="png", dpi=120)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
