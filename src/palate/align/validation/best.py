"""Which validation was the best one, and by what."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Row = Mapping[str, Any]
"""One line of `validation.jsonl`: `step`, `seconds`, and `images`, `failed`, `scores` and `held_out` where measured."""


@dataclass(frozen=True)
class Criterion:
    """The number by which the best model is chosen.

    Attributes:
        scorer: the scorer whose median it is; without one it is the held-out accuracy where the method has one, and
            otherwise the held-out loss.
        higher_is_better: whether a higher score of that scorer is better.
    """

    scorer: str | None = None
    higher_is_better: bool = True

    def value(self, row: Row) -> tuple[float, float] | None:
        """What rows are compared by, such that higher is better; None if the row does not have it.

        Equal medians, as those of a score of 0 and 1 often are, are compared by their means.
        """
        means = row.get("scores", {}).get(self.scorer, {}).get("mean") if self.scorer else None
        numbers = [self.shown(row), means or 0.0]
        if numbers[0] is None or not math.isfinite(numbers[0]):
            return None
        first, second = numbers if self._rises(row) else [-number for number in numbers]
        return first, second

    def shown(self, row: Row) -> float | None:
        """The number as it was measured."""
        if self.scorer:
            return row.get("scores", {}).get(self.scorer, {}).get("median")
        held_out = row.get("held_out", {})
        return held_out.get("accuracy", held_out.get("loss"))

    def name(self, row: Row) -> str:
        """The number's name: `median of <scorer>`, `held-out accuracy` or `held-out loss`."""
        if self.scorer:
            return f"median of {self.scorer}"
        return "held-out accuracy" if "accuracy" in row.get("held_out", {}) else "held-out loss"

    def _rises(self, row: Row) -> bool:
        return self.higher_is_better if self.scorer else "accuracy" in row.get("held_out", {})


def best_row(rows: Sequence[Row], criterion: Criterion) -> Row | None:
    """The row of the best trained model, the earliest of equals; the base model, at step 0, is not one of them."""
    best, highest = None, (-math.inf, -math.inf)
    for row in rows:
        value = criterion.value(row)
        if row["step"] > 0 and value is not None and value > highest:
            best, highest = row, value
    return best


def describe_best(rows: Sequence[Row], criterion: Criterion) -> dict[str, Any] | None:
    """The best model for `summary.json`: its step, by what it was chosen, the value and the base model's value."""
    row = best_row(rows, criterion)
    if row is None:
        return None
    base = next((criterion.shown(each) for each in rows if each["step"] == 0), None)
    return {"step": row["step"], "by": criterion.name(row), "value": criterion.shown(row), "base": base}
