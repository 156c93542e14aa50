"""Writing JSON that every JSON parser accepts: all numbers must be finite, or nothing is written."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from palate.core.files import write_atomic
from palate.core.finite import NotFiniteError


def to_json(content: Any, what: str, *, indent: int | None = None, ascii: bool = True) -> str:
    """The content as JSON text.

    Args:
        content: a value of the types of JSON.
        what: what the text is, for the error, such as a path.
        indent: spaces for each level; all on one line when left out.
        ascii: write characters outside ASCII as escapes; otherwise unchanged.

    Raises:
        NotFiniteError: a number is NaN or infinite, which JSON cannot hold; the message names its key.
    """
    try:
        return json.dumps(content, allow_nan=False, ensure_ascii=ascii, indent=indent)
    except ValueError:
        for key, value in _not_finite(content):
            raise NotFiniteError(f"cannot write {what}: its {key} is {value}, and must be a finite number") from None
        raise


def write_json(path: Path | str, content: Any, *, ascii: bool = True) -> None:
    """Writes the content as JSON, indented by two spaces; after an error, the file is as it was before.

    Raises:
        NotFiniteError: as for `to_json`.
        PalateError: the disk is full, and the like.
    """
    write_atomic(path, to_json(content, str(path), indent=2, ascii=ascii) + "\n")


def _not_finite(content: Any, key: str = "") -> Iterator[tuple[str, float]]:
    """The dotted key and the value of every number that is NaN or infinite."""
    if isinstance(content, float) and not math.isfinite(content):
        yield key or "value", content
    elif isinstance(content, Mapping):
        for name, value in content.items():
            yield from _not_finite(value, f"{key}.{name}" if key else str(name))
    elif isinstance(content, (list, tuple)):
        for place, value in enumerate(content):
            yield from _not_finite(value, f"{key}[{place}]")
