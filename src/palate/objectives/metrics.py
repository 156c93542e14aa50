"""What an objective measures of each example beside its loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor


class PartialMetric(NamedTuple):
    """A metric that some examples do not have, such as an accuracy where nothing is ranked.

    Attributes:
        value: [B], of any value where it is not measured.
        measured: whether the example has it [B], bool.
    """

    value: Tensor
    measured: Tensor


Metrics = Mapping[str, Tensor | PartialMetric]
"""By name, detached: [B] where every example has it."""
