"""The splits of published data, such as train and test, which must not be mixed silently."""

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
"""The layouts of files in a folder: in the folder itself, in `data/` as on a hub, one folder for each split, and as a
hub converts them to Parquet."""


def files_by_split(path: Path, suffix: str) -> dict[str, list[Path]]:
    """The files with a suffix in a folder, by the split that their name, or their folder's name, begins with.

    Args:
        path: a folder, or a single file.
        suffix: the suffix of the files, such as `.parquet`.

    Returns:
        The files of each split, sorted by name; those without a split are under "". Only the first layout that has
        files is used.
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
    """The split that the name of a file or folder begins with: `train` for `train-00000-of-00008.parquet`; else ""."""
    found = _NAME.match(name)
    return found[0].lower() if found else ""


def of_split(found: Mapping[str, Sequence[Path]], split: str | None, path: Path, tally: Tally) -> list[Path]:
    """The files of one split; the choice is printed and noted in the tally.

    Args:
        found: the files by split, those without a split under "".
        split: the name of the split, or `all`; when left out, train or the only split.
        path: the folder of the files.

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
