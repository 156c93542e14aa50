"""The numbers of a run's curves that its diagnosis reads."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

LATE = 3
"""Late is the last third of the lines: fewer have too much noise in short runs, more lag behind what happens."""
ACCURACY_RISE = 0.1
"""More than the noise of a line of 160 examples, 0.04."""


@dataclass(frozen=True)
class Evidence:
    """The numbers that the rules read; None where the method or the run does not have one.

    Attributes:
        lines: how many lines of metrics there are.
        epoch: how often training has gone through the examples; infinite where that was not logged.
        first_loss, late_loss, loss_noise: the training loss, and the standard error of the late one.
        first_norm, late_norm: the norm of the gradient.
        first_accuracy, late_accuracy: the training accuracy.
        held_out_accuracy: of the last validation.
        held_out_loss, lowest_loss: the held-out loss of the last validation, and its lowest.
        preferred, other: how much the errors have risen, as a share of the base model's.
        gap, gap_noise: how much more the other images' error has risen, in units of the error, and its standard error.
        moved: by how much the preferred images' error has risen, in units of the error.
    """

    lines: int
    epoch: float
    first_loss: float
    late_loss: float
    loss_noise: float
    first_norm: float | None
    late_norm: float | None
    first_accuracy: float | None
    late_accuracy: float | None
    held_out_accuracy: float | None
    held_out_loss: float | None
    lowest_loss: float | None
    preferred: float | None
    other: float | None
    moved: float | None
    gap: float | None
    gap_noise: float

    @property
    def improved(self) -> bool:
        """Whether training has improved by more than noise: its accuracy, its loss, or the gap between its images.

        With an anchor the loss varies with the images and times of a batch, and the gap is then the clearest sign.
        """
        by_accuracy = self.accuracy_rise is not None and self.accuracy_rise >= ACCURACY_RISE
        by_gap = self.gap is not None and self.gap_noise > 0 and self.gap > 2 * self.gap_noise
        return by_accuracy or by_gap or self.late_loss < self.first_loss - 2 * self.loss_noise

    @property
    def accuracy_rise(self) -> float | None:
        """By how much the training accuracy has risen."""
        if self.first_accuracy is None or self.late_accuracy is None:
            return None
        return self.late_accuracy - self.first_accuracy


def evidence_of(lines: Sequence[Mapping[str, Any]], rows: Sequence[Mapping[str, Any]]) -> Evidence:
    """The numbers that the rules read; arguments as for `diagnose`, with at least one line."""
    held_out = [row["held_out"] for row in rows if row.get("held_out")]
    losses = [each["loss"] for each in held_out if each.get("loss") is not None]
    last = held_out[-1] if held_out else {}
    moved, gap, noise, preferred, other = _errors(lines, last)
    return Evidence(
        lines=len(lines),
        epoch=lines[-1].get("epoch", math.inf),
        first_loss=lines[0]["loss"],
        late_loss=_late(lines, "loss") or 0.0,
        loss_noise=noise_of(_column(lines, "loss")),
        first_norm=_first(lines, "gradient_norm"),
        late_norm=_late(lines, "gradient_norm"),
        first_accuracy=_first(lines, "accuracy"),
        late_accuracy=_late(lines, "accuracy"),
        held_out_accuracy=last.get("accuracy"),
        held_out_loss=losses[-1] if losses else None,
        lowest_loss=min(losses) if losses else None,
        preferred=preferred,
        other=other,
        moved=moved,
        gap=gap,
        gap_noise=noise,
    )


def roles_of(names: Iterable[str], before: str = "") -> list[str]:
    """The roles of the images in a method, such as winner and loser, best first: those of the names of errors.

    Args:
        names: names of metrics, such as `error_winner`.
        before: what stands before `error_`.
    """
    start = f"{before}error_"
    found = {name.removeprefix(start) for name in names if name.startswith(start)}
    return sorted((role for role in found if not role.startswith("ref_")), key=_place)


def _place(role: str) -> tuple[bool, int, str]:
    """`winner` before `loser`, and `place_10` after `place_9`."""
    number = role.rpartition("_")[2]
    return role == "loser", int(number) if number.isdigit() else 0, role


def _errors(
    lines: Sequence[Mapping[str, Any]], held_out: Mapping[str, Any]
) -> tuple[float | None, float | None, float, float | None, float | None]:
    """`moved`, `gap`, `gap_noise`, `preferred` and `other` of `Evidence`."""
    names = {name for line in lines for name in line}
    if any(name.startswith("error_ref_") for name in names):
        rises = {role: _rise(lines, role) for role in roles_of(names)}
    else:  # held-out errors are measured at the same draws each time, so that their rise has no noise of the draws
        rises = {role: _rise([held_out], role) for role in roles_of(held_out)}
    known = {role: found for role, found in rises.items() if found[0]}
    if not known:
        return None, None, 0.0, None, None
    first, *_, last = [*known.values(), next(iter(known.values()))][: max(len(known), 2)]
    moved, preferred = _mean(_tail(first[0])), _mean(_tail(first[0])) / _mean(_tail(first[1]))
    if len(known) == 1:
        return moved, None, noise_of(first[0]), preferred, None
    gaps = [b - a for a, b in zip(first[0], last[0])]
    other = _mean(_tail(last[0])) / _mean(_tail(last[1]))
    return moved, _mean(_tail(gaps)), noise_of(gaps), preferred, other


def _rise(lines: Sequence[Mapping[str, Any]], role: str) -> tuple[list[float], list[float]]:
    """The rise of a role's error over the base model's in each line that has both, and the base model's error."""
    names = (f"error_{role}", f"error_ref_{role}")
    pairs = [(line[names[0]], line[names[1]]) for line in lines if all(line.get(name) is not None for name in names)]
    return [error - base for error, base in pairs], [base for _, base in pairs]


def _column(lines: Sequence[Mapping[str, Any]], name: str) -> list[float]:
    return [line[name] for line in lines if line.get(name) is not None]


def _first(lines: Sequence[Mapping[str, Any]], name: str) -> float | None:
    return next(iter(_column(lines, name)), None)


def _late(lines: Sequence[Mapping[str, Any]], name: str) -> float | None:
    column = _column(lines, name)
    return _mean(_tail(column)) if column else None


def _tail(column: Sequence[float]) -> Sequence[float]:
    """The last third of a column, at least one value."""
    return column[-max(1, len(column) // LATE) :]


def _mean(column: Sequence[float]) -> float:
    return sum(column) / len(column)


def noise_of(column: Sequence[float]) -> float:
    """The standard error of the late mean of a column; 0 for a single value.

    The variance of a value is half the mean squared difference of neighbours, to which a slow trend adds little.

    Reference: von Neumann et al., "The mean square successive difference", Annals of Mathematical Statistics 1941.
    """
    half = column[len(column) // 2 :] if len(column) > 3 else column
    squares = [(b - a) ** 2 for a, b in pairwise(half)]
    return math.sqrt(_mean(squares) / 2 / len(_tail(column))) if squares else 0.0
