"""Settings of the fuzz tests: few examples in the default suite, many with the `slow` marker, the same in every run."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest
from hypothesis import HealthCheck
from hypothesis import strategies as st

EXAMPLES = pytest.mark.parametrize("examples", [150, pytest.param(5_000, marks=pytest.mark.slow)])
"""The parameter of a test that is the number of its examples."""
HALF = st.characters(categories=["Cs"])
"""A surrogate, half of a character."""
TEXT = st.text(st.characters() | HALF, max_size=12)
HUGE = st.sampled_from([63, 64, 100, 20_000]).map(lambda bits: 2**bits)
"""The last of these is longer than Python writes out."""
SCALARS = st.none() | st.booleans() | st.integers() | HUGE | st.floats() | TEXT


def settings(examples: int) -> Any:
    """Decorates a property with a number of examples, the same in every run, and no time limit for an example."""
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


@st.composite
def spoilt(draw: st.DrawFn, document: Any, other: st.SearchStrategy[Any] | None = None) -> Any:
    """A copy of a valid document in which one to three values are replaced, removed or doubled."""
    document = copy.deepcopy(document)
    for _ in range(draw(st.integers(1, 3))):
        places = list(_places(document))
        if not places:
            break
        holder, key = draw(st.sampled_from(places))
        what = draw(st.sampled_from(["replace", "replace", "remove", "double"]))
        if what == "replace":
            holder[key] = draw(values() if other is None else other)
        elif what == "remove":
            del holder[key]
        elif isinstance(holder, list):
            holder.append(copy.deepcopy(holder[key]))
        else:
            holder[draw(TEXT)] = copy.deepcopy(holder[key])
    return document


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every list or mapping in a document with each of its indices or keys."""
    for key, inner in enumerate(value) if isinstance(value, list) else value.items() if isinstance(value, dict) else ():
        yield value, key
        yield from _places(inner)


def edits() -> st.SearchStrategy[list[tuple[str, float, bytes]]]:
    """Changes of a file: what is done, how far into the file from 0 to 1, and by which bytes."""
    what = st.sampled_from(["change", "change", "cut", "insert"])
    some = st.binary(min_size=1, max_size=4) | st.sampled_from([b'"', b",", b"\n", b"{", b"[", b"\xff", b"\0"])
    return st.lists(st.tuples(what, st.floats(0, 1), some), max_size=4)


def damaged(data: bytes, changes: list[tuple[str, float, bytes]]) -> bytes:
    """A copy of a file with such changes."""
    found = bytearray(data)
    for what, share, some in changes:
        place = round(share * len(found))
        if what == "cut":
            del found[place:]
        else:
            found[place : place + len(some) * (what == "change")] = some
    return bytes(found)
