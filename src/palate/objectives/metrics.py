"""The metrics that an objective returns beside its loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor


class PartialMetric(NamedTuple):
    """A metric that some examples do not have, such as an accuracy in a set without an order.

    Attributes:
        value: the values [B]; arbitrary for examples that do not have the metric.
        measured: whether each example has the metric [B], bool.
    """

    value: Tensor
    measured: Tensor


Metrics = Mapping[str, Tensor | PartialMetric]
"""Detached metrics by name; a tensor [B] if every example has the metric."""
