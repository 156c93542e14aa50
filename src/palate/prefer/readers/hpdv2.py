"""Human Preference Dataset v2 (Wu et al. 2023, arXiv:2306.09341).

Two layouts of a folder are read:

- as released (`ymhao/HPDv2`): `test.json` (rankings of n images with `raw_annotations` of each rater) with its images
  in `test/`, and `train.json` (pairs with `human_preference`) with its images in `train/`; where both exist, one of
  them is read;
- a gallery extract: `annotations.jsonl` with `prompt`, `images`, `system` and `raw_ranks` (a row of n ranks for each
  rater), and the images in `images/`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from palate.core.errors import InputError
from palate.core.values import shown
from palate.prefer.aggregation import aggregate
from palate.prefer.formats.hpdv2 import ANNOTATIONS, IMAGES, PAIR, PREFERENCE, RANK, SPLITS, SYSTEMS, USER
from palate.prefer.readers.reader import EVERYTHING, FormatReader, Selection
from palate.prefer.readers.splits import of_split
from palate.records import checked
from palate.records.checked_set import OnceDecoded
from palate.records.images import StoredImage
from palate.records.ranked import RankedSet, Vote, rank
from palate.records.table_files import read_table
from palate.records.table_stream import first_object
from palate.records.tally import Tally

GALLERY = "annotations.jsonl"
_IMAGES = ("images", IMAGES, PAIR)
_RANKS = (RANK, "ranking")
_LOWEST, _HIGHEST = -(2**31), 2**31 - 1  # limits of ranks in the file, which need not begin at 1


def matches(path: Path) -> bool:
    """Whether this is a folder with one of the layouts."""
    return bool(_files(path))


def read(path: Path, tally: Tally, selection: Selection = EVERYTHING) -> Iterator[RankedSet]:
    """One ranked set for each row, with each rater's ranking as a vote and the order by Borda counts as the ranks.

    Raises:
        InputError: a file is not JSON, a ranking does not match its images, or an image is missing or broken.
    """
    check = OnceDecoded()
    for file in of_split(_files(path), selection.split, path, tally):
        beside = path / ("images" if file.name == GALLERY else file.stem)
        folder = beside if beside.is_dir() else path
        for name, row in read_table(file, "annotations", tally):
            with tally.row(name):
                yield check(_ranked_set(row, folder))


def _files(path: Path) -> dict[str, list[Path]]:
    names = {"": GALLERY, **{split: f"{split}.json" for split in SPLITS}}
    return {split: [path / name] for split, name in names.items() if _is_ours(path / name)}


def _is_ours(file: Path) -> bool:
    """Whether a file's first row has images as in one of the layouts; a file without a readable row is ours as well."""
    first = first_object(file) if file.is_file() else {}
    return first is None or any(key in first for key in _IMAGES)


def _ranked_set(row: Any, folder: Path) -> RankedSet:
    if not isinstance(row, dict):
        raise InputError(f"{shown(row)} is not an object with a prompt, images and ranks; download the file again")
    names = _list(row, _IMAGES, "list of images")
    votes = _votes(row)
    systems = row.get(SYSTEMS) or []
    if not isinstance(systems, list):
        raise InputError(f"the {SYSTEMS} is {shown(systems)}, not a list with a name for each image; write such a list")
    return RankedSet(
        prompt=checked.prompt_in(row),
        images=tuple(StoredImage(path=checked.file_in(folder, each, "an image's name")) for each in names),
        ranks=aggregate(votes, len(names)) if votes else rank(_numbers(_list(row, _RANKS, "ranking"))),
        votes=votes,
        systems=tuple(checked.optional_name(each, f"the {SYSTEMS}") for each in systems),
    )


def _votes(row: dict[str, Any]) -> tuple[Vote, ...]:
    if "raw_ranks" in row:  # rater 3 of one prompt is not rater 3 of another
        lists = _list(row, ("raw_ranks",), "list of rankings")
        return tuple(Vote(f"rater {i}", _numbers(ranks)) for i, ranks in enumerate(lists))
    if PREFERENCE in row:  # 1 for the preferred image, 0 for the other
        chosen = _numbers(row[PREFERENCE])
        return (Vote(_user(row), rank([-each for each in chosen])),)
    key = next((key for key in (ANNOTATIONS, "raw_annotation") if row.get(key)), None)
    annotations = _list(row, (key,), "list of annotations") if key else []
    if odd := [each for each in annotations if not isinstance(each, dict)]:
        raise InputError(
            f"the annotation {shown(odd[0])} is not an object with a {RANK} and a {USER}; download the file again"
        )
    return tuple(Vote(_user(each), rank(_numbers(each.get(RANK)))) for each in annotations)


def _list(row: dict[str, Any], keys: tuple[str, ...], what: str) -> list[Any]:
    """The list under the first of these keys that exists."""
    found = next((row[key] for key in keys if key in row), None)
    if not isinstance(found, list) or not found:
        raise InputError(f"no {what} but {shown(found)} among {', '.join(map(str, row))}; download the file again")
    return found


def _user(row: dict[str, Any]) -> str:
    return checked.optional_name(row.get(USER), f"the {USER}") or "unknown"


def _numbers(values: Any) -> tuple[int, ...]:
    if not isinstance(values, list) or not values:
        raise InputError(f"{shown(values)} is not a ranking; it needs a list with a whole number for each image")
    return tuple(checked.integer(value, "a rank", _LOWEST, _HIGHEST) for value in values)


READER = FormatReader(matches, read, "HPDv2 (test.json, train.json or annotations.jsonl)", splits=True)
