"""Published data come in splits, such as train and test, which are not to be mixed without a word."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from palate.core.errors import InputError, nearest
from palate.core.progress import note
from palate.records.tally import Tally

ALL = "all"
_NAME = re.compile(r"(train(ing)?|validation|valid|val|dev|test(ing)?|eval)(_[a-z]+)*(?=[-._0-9]|$)", re.IGNORECASE)
_LAYOUTS = ("*{}", "data/*{}", "*/*{}", "default/*/*{}")
"""Of files in a folder: side by side, as a hub has them, a folder a split, and as a hub converts them."""


def files_by_split(path: Path, suffix: str) -> dict[str, list[Path]]:
    """The files of a kind in a folder by the split that their name, or their folder's, begins with.

    Args:
        path: a folder, or a file that is then the only one.
        suffix: of the files, such as `.parquet`.

    Returns:
        The files by name in each split, those without one under ""; of the first layout that has any.
    """
    if path.is_file():
        return {"": [path]} if path.suffix == suffix else {}
    for layout in _LAYOUTS:
        found: dict[str, list[Path]] = {}
        for file in sorted(path.glob(layout.format(suffix))):
            split = split_of(file.name) or (split_of(file.parent.name) if file.parent != path else "")
            if file.is_file() and (split or layout.count("*") == 1):
                found.setdefault(split, []).append(file)
        if found:
            return found
    return {}


def split_of(name: str) -> str:
    """The split that a file's or folder's name begins with: `train` of `train-00000-of-00008.parquet`; "" of others."""
    found = _NAME.match(name)
    return found[0].lower() if found else ""


def of_split(found: Mapping[str, Sequence[Path]], split: str | None, path: Path, tally: Tally) -> list[Path]:
    """The files of one split; the choice is said, and is in the tally.

    Args:
        found: files by split, those without one under "".
        split: which; `all` of them, or where it is left out, train, or the only one that there is.
        path: where they were found.

    Raises:
        InputError: there is no such split, or none was named and it is not clear which.
    """
    names = [name for name in found if name]
    if not names:
        if split not in (None, ALL):
            raise InputError(f"{path} has no splits, so none is {split!r}; leave split out")
        return [file for files in found.values() for file in files]
    chosen = split or ("train" if "train" in names else names[0] if len(names) == 1 else "")
    if chosen not in (*names, ALL):
        asked = f"no split {split!r}{nearest(split, names)}" if split else "no split 'train'"
        raise InputError(f"{path} has {asked}; give split one of {', '.join(names)} or {ALL}")
    tally.facts["split"] = chosen
    left = [name or "files without a split" for name in found if name != chosen]
    if chosen != ALL and left and split is None:
        note(f"reading the split {chosen} of {path}, and not {_and(left)}; `palate prefer import --split` takes others")
    return [file for name, files in found.items() if chosen in (name, ALL) for file in files]


def _and(words: Iterable[str]) -> str:
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last
