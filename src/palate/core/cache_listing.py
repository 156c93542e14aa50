"""`palate cache`: lists the entries of the cache folder, and deletes some."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from palate.core.cache_folder import ListedEntry, default_root, list_entries, select_entries, size_text

UNITS = {"h": 3600.0, "d": 86400.0, "w": 7 * 86400.0}


@dataclass(frozen=True, kw_only=True)
class ListConfig:
    """Which folder is listed."""

    cache: Path | None = None
    """The cache folder; $PALATE_CACHE or ~/.cache/palate when left out."""


@dataclass(frozen=True, kw_only=True)
class PruneConfig(ListConfig):
    """What is deleted: one of the three must be given."""

    name: tuple[str, ...] = ()
    """Entries with these names, or with names that begin so if only one does."""
    older_than: str | None = None
    """Entries that have not been used for this time: 12h, 30d or 8w."""
    all: bool = False
    """Every entry."""

    def __post_init__(self) -> None:
        if sum((bool(self.name), self.older_than is not None, self.all)) != 1:
            raise ValueError("give one of name, older_than and all")
        if self.older_than is not None and not re.fullmatch(r"\d+[hdw]", self.older_than):
            raise ValueError(f"older_than is a number of hours, days or weeks, such as 30d, not {self.older_than!r}")

    @property
    def seconds(self) -> float | None:
        """`older_than` as a number."""
        return int(self.older_than[:-1]) * UNITS[self.older_than[-1]] if self.older_than else None


def listing(config: ListConfig) -> Iterator[str]:
    """A line for each entry, the last used first, and a line with the total."""
    root = config.cache or default_root()
    found = list_entries(root)
    rows = [("NAME", "SIZE", "LAST USED", "OF")] if found else []
    rows += [(each.path.name, size_text(each.size), _when(each), _what(each)) for each in found]
    widths = [max(map(len, column)) for column in zip(*rows)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip()
    yield f"{root} keeps {len(found)} entries, {size_text(sum(each.size for each in found))}"


def prune(config: PruneConfig) -> Iterator[str]:
    """Deletes entries that no process uses; a line for each, and a line with the total.

    Raises:
        InputError: no entry or several entries have a name.
    """
    root = config.cache or default_root()
    freed = 0
    for each in select_entries(list_entries(root), config.name, config.seconds):
        if each.delete():
            freed += each.size
            yield f"deleted {each.path.name} ({size_text(each.size)})"
        else:
            yield f"left {each.path.name} ({size_text(each.size)}): a process uses it"
    yield f"freed {size_text(freed)} in {root}"


def _what(each: ListedEntry) -> str:
    about = {name: value for name, value in each.about.items() if name != "kind"}
    model, data = about.pop("model", None), about.pop("data", None)
    rest = [f"{value} {name}" if isinstance(value, int) else str(value) for name, value in about.items()]
    return ", ".join(str(part) for part in (data, model, *rest) if part)


def _when(each: ListedEntry) -> str:
    if each.in_use:
        return "in use"
    age = time.time() - each.used
    if age < 2 * UNITS["h"]:
        return f"{max(round(age / 60), 0)} min ago"
    return f"{round(age / UNITS['h'])} h ago" if age < 2 * UNITS["d"] else f"{round(age / UNITS['d'])} days ago"
