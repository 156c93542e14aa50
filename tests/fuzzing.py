"""How the fuzz tests are run: few examples in the default suite, many under the `slow` marker, the same every time."""

from __future__ import annotations

from typing import Any

import hypothesis
import pytest
from hypothesis import HealthCheck
from hypothesis import strategies as st

EXAMPLES = pytest.mark.parametrize("examples", [150, pytest.param(5_000, marks=pytest.mark.slow)])
"""Of a test that takes how many examples it draws."""
HALF = st.characters(categories=["Cs"])
"""A surrogate, half of a character."""
TEXT = st.text(st.characters() | HALF, max_size=12)
HUGE = st.sampled_from([63, 64, 100, 20_000]).map(lambda bits: 2**bits)
"""The last of these is longer than Python writes out."""
SCALARS = st.none() | st.booleans() | st.integers() | HUGE | st.floats() | TEXT


def settings(examples: int) -> Any:
    """Decorates a property with so many examples, drawn alike at every run, and no limit of time for one."""
    return hypothesis.settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )


def values(scalars: st.SearchStrategy[Any] = SCALARS, keys: st.SearchStrategy[str] = TEXT) -> st.SearchStrategy[Any]:
    """Scalars, and lists and mappings of them, nested."""
    return st.recursive(
        scalars,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
        max_leaves=8,
    )
