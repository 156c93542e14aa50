"""The charts of a run of `palate align`, from whatever metrics its method has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from palate.align.evidence import roles_of
from palate.align.validation.validator import flat_row
from palate.report.charts import Curve, LineChart, line_chart

PLAIN = {"step", "epoch", "loss", "accuracy", "margin", "lr", "gradient_norm"}
TITLES = {
    "loss_discriminator": "Loss of the discriminator",
    "accuracy_discriminator": "Accuracy of the discriminator",
    "adversarial": "Adversarial loss",
}
MOST_LINES = 4
"""A chart has as many colours."""


def run_charts(lines: Sequence[Mapping[str, Any]], rows: Sequence[Mapping[str, Any]]) -> list[LineChart]:
    """The charts of a run.

    Args:
        lines: the lines of `metrics.jsonl`.
        rows: the lines of `validation.jsonl`.
    """
    every = [*lines, *(flat_row(row) for row in rows)]
    names = {name for line in every for name in line}
    scorers = list(dict.fromkeys(scorer for row in rows for scorer in row.get("scores", {})))
    base = {scorer: value for row in rows if row["step"] == 0 for scorer, value in row.get("scores", {}).items()}
    curves = [*_scores(scorers, base), *_training(names), *_others(names)]
    return [chart for curve in curves if (chart := line_chart(curve, every))]


def _scores(scorers: Sequence[str], base: Mapping[str, Mapping[str, Any]]) -> Iterator[Curve]:
    """A chart for each scorer: the median with its interval, and the mean."""
    for scorer in scorers:
        yield Curve(
            scorer,
            "scores of the validation images; dashed is the base model's median, shaded the median's 95% interval",
            {"median": (f"median {scorer}",), "mean": (f"mean {scorer}",)},
            base.get(scorer, {}).get("median"),
            {"median": (f"median_low {scorer}", f"median_high {scorer}")},
        )


def _training(names: set[str]) -> Iterator[Curve]:
    """The charts of training and of held-out feedback."""
    both = {name: {"training": (name,), "held-out": (f"held_out_{name}",)} for name in ("loss", "accuracy", "margin")}
    band = {"held-out": ("held_out_accuracy_low", "held_out_accuracy_high")}
    note = "how often the implicit reward ranks an example as its feedback does; shaded is a 95% interval"
    yield Curve("Implicit accuracy", note, both["accuracy"], 0.5, band)
    yield Curve("Implicit reward margin", "the preferred image's reward minus the other's", both["margin"], 0.0)
    yield Curve("Loss", "what training lowers", both["loss"])
    for title, before in (("Denoising error", ""), ("Held-out denoising error", "held_out_")):
        roles = _fewer(roles_of(names, before))
        pairs = {role: (f"{before}error_{role}", f"{before}error_ref_{role}") for role in roles}
        known = {role: keys for role, keys in pairs.items() if keys[1] in names}
        below = "below zero, the model denoises these images better than the base model does"
        if known:
            yield Curve(f"{title} minus the base model's", below, known, 0.0)
        elif pairs:
            yield Curve(title, "of the images that are trained on", {role: keys[:1] for role, keys in pairs.items()})
    norm = "before clipping; a norm that grows by much means that training is not stable"
    yield Curve("Norm of the gradient", norm, {"norm": ("gradient_norm",)})
    yield Curve("Learning rate", "of each step", {"learning rate": ("lr",)})


def _others(names: set[str]) -> Iterator[Curve]:
    """The other metrics of a method, such as those of an adversarial term, each in a chart of its own."""
    for name in sorted(names - PLAIN):
        if " " not in name and not name.startswith(("error_", "held_out_")):
            yield Curve(TITLES.get(name, name.replace("_", " ").capitalize()), "as logged", {name: (name,)})


def _fewer(roles: Sequence[str]) -> Sequence[str]:
    """The roles that are drawn: all, or the best and the worst ones."""
    half = MOST_LINES // 2
    return roles if len(roles) <= MOST_LINES else [*roles[:half], *roles[-half:]]
