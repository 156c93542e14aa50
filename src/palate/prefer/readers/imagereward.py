"""ImageRewardDB (Xu et al. 2023, arXiv:2304.05977), in every form in which it is published (`THUDM/ImageRewardDB`).

- an image a row: `prompt_id`, `prompt`, `rank` and the ratings, in `metadata-train.parquet` or `images/train/*/*.json`
  with an `image_path`, or in Parquet files with an embedded `image`;
- a prompt a row (`8k_group`): Parquet files in which `image`, `rank` and the ratings are lists;
- a pair a row (`8k_pair`): Parquet files with `img_better` and `img_worse`;
- the file of the paper's repository: `test.json` with `generations` and `ranking`, the images in `test/` or beside it.

Ranks may have gaps and ties. The ratings (from 1 to 7, more is better) are kept as scores.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from palate.core.errors import InputError
from palate.core.values import shown
from palate.prefer.readers.reader import EVERYTHING, FormatReader, Selection
from palate.prefer.readers.splits import files_by_split, of_split, split_of
from palate.prefer.readers.voted_pairs import voted_pair
from palate.records import checked
from palate.records.checked_set import checked_set
from palate.records.images import Place, StoredImage
from palate.records.parquet import parquet_rows, parquet_schema
from palate.records.parquet_io import RowName, image_of, image_type
from palate.records.ranked import RankedSet, rank
from palate.records.table_stream import first_object, stream_table
from palate.records.tally import Tally

RATINGS = ("overall_rating", "image_text_alignment_rating", "fidelity_rating")
PAIR, LISTS = ("img_better", "img_worse"), ("generations", "ranking")
_METADATA = "metadata-"


def matches(path: Path) -> bool:
    """Whether this is such a file, or a folder with some."""
    return bool(_found(path))


def read(path: Path, tally: Tally, selection: Selection = EVERYTHING) -> Iterator[RankedSet]:
    """One ranked set for each prompt, or one pair for each row of the form with pairs.

    Of the form with an image a row, all rows without their images are in memory. Prompts with a single image are left
    out and counted.

    Raises:
        InputError: there is no such split, or a row is bad.
    """
    prompts: dict[tuple[str, str], list[_Row]] = {}
    for file in of_split(_found(path), selection.split, path, tally):
        form = _form(file)
        if form in _AN_IMAGE_A_ROW:
            for each in _AN_IMAGE_A_ROW[form](file, tally):
                prompts.setdefault((each.prompt_id, each.prompt), []).append(each)
        elif form:
            yield from _WHOLE[form](file, tally)
    for (_, prompt), rows in prompts.items():
        if len(rows) < 2:
            tally.drop("prompts with a single image")
            continue
        with tally.row(f"{rows[0].name} and the others of its prompt"):
            ratings = {name: [each.row.get(name) for each in rows] for name in RATINGS}
            yield _ranked(prompt, [each.image for each in rows], [each.rank for each in rows], ratings, tally)


class _Row(NamedTuple):
    """An image of a prompt, with the row of its rank and ratings."""

    name: str
    prompt_id: str
    prompt: str
    image: StoredImage
    rank: int
    row: Mapping[str, Any]


def _found(path: Path) -> dict[str, list[Path]]:
    """The files by split, of the first kind of file that exists."""
    metadata: dict[str, list[Path]] = {}
    for file in sorted(path.glob(f"{_METADATA}*.parquet")) if path.is_dir() else ():
        metadata.setdefault(split_of(file.name.removeprefix(_METADATA)), []).append(file)
    parts: dict[str, list[Path]] = {}
    for file in sorted(path.glob("images/*/*/*.json")):
        parts.setdefault(split_of(file.parent.parent.name), []).append(file)
    for found in (metadata, parts, files_by_split(path, ".parquet"), files_by_split(path, ".json")):
        known = {split: [file for file in files if _form(file)] for split, files in found.items()}
        if any(known.values()):
            return {split: files for split, files in known.items() if files}
    return {}


def _form(file: Path) -> str:
    """The form of a file, one of `_AN_IMAGE_A_ROW` or `_WHOLE`; "" where it has none."""
    import pyarrow as pa

    if file.suffix != ".parquet":
        keys = (first_object(file) or {}).keys()
        return "json" if {"image_path", "prompt_id", "rank"} <= keys else "lists" if set(LISTS) <= keys else ""
    schema = parquet_schema(file)
    if set(PAIR).issubset(schema.names):
        return "pairs" if all(pa.types.is_struct(schema.field(name).type) for name in PAIR) else ""
    if not {"prompt_id", "prompt", "rank"}.issubset(schema.names):
        return ""
    if "image" in schema.names:
        return "groups" if pa.types.is_nested(schema.field("rank").type) else "embedded"
    return "paths" if "image_path" in schema.names else ""


def _embedded(file: Path, tally: Tally) -> Iterator[_Row]:
    yield from _of_rows(file, tally, lambda name, row: StoredImage(place=Place(name.file, name.number, "image")))


def _paths(file: Path, tally: Tally) -> Iterator[_Row]:
    yield from _of_rows(file, tally, lambda name, row: _image(file, row))


def _of_rows(file: Path, tally: Tally, image: Callable[[RowName, Mapping[str, Any]], StoredImage]) -> Iterator[_Row]:
    import pyarrow as pa

    text, number = pa.string(), pa.float64()
    schema = {"prompt_id": text, "prompt": text, "image_path": text, **dict.fromkeys(("rank", *RATINGS), number)}
    for name, row in parquet_rows(file, ("prompt_id", "prompt", "rank"), pa.schema(schema)):
        with tally.row(name):
            yield _row(name, row, image(name, row))


def _json(file: Path, tally: Tally) -> Iterator[_Row]:
    for name, row in stream_table(file, "annotations", tally):
        with tally.row(name):
            yield _row(name, _object(row), _image(file, row))


def _row(name: str, row: Mapping[str, Any], image: StoredImage) -> _Row:
    prompt_id = checked.optional_name(row.get("prompt_id"), "the prompt_id")
    place = checked.integer(row.get("rank"), "the rank", 1)
    ratings = {key: row.get(key) for key in RATINGS}
    return _Row(name, prompt_id, checked.text(row.get("prompt"), "the prompt"), image, place, ratings)


def _image(file: Path, row: Mapping[str, Any]) -> StoredImage:
    """The image that a row names, from the folder of the whole set or beside the file of its part."""
    name = row.get("image_path")
    named = checked.file_in(file.parent, name, "the image_path")
    beside = file.parent / named.name
    return StoredImage(path=beside if beside.is_file() and not named.is_file() else named)


def _groups(file: Path, tally: Tally) -> Iterator[RankedSet]:
    import pyarrow as pa

    numbers = pa.list_(pa.float64())
    lists = {"image": pa.list_(image_type()), **dict.fromkeys(("rank", *RATINGS), numbers)}
    for name, row in parquet_rows(file, ("prompt", "image", "rank"), pa.schema({"prompt": pa.string(), **lists})):
        with tally.row(name):
            images = [image_of(each or {}, name, "image", item) for item, each in enumerate(row["image"] or ())]
            ranks = [checked.integer(each, "a rank", 1) for each in row["rank"] or ()]
            ratings = {key: row.get(key) or [] for key in RATINGS}
            yield _ranked(checked.text(row["prompt"], "the prompt"), images, ranks, ratings, tally)


def _pairs(file: Path, tally: Tally) -> Iterator[RankedSet]:
    import pyarrow as pa

    columns = pa.schema({"prompt": pa.string(), **dict.fromkeys(PAIR, image_type())})
    for name, row in parquet_rows(file, ("prompt", *PAIR), columns):
        with tally.row(name):
            better, worse = (image_of(row[column] or {}, name, column) for column in PAIR)
            yield voted_pair(checked.text(row["prompt"], "the prompt"), better, worse)


def _lists(file: Path, tally: Tally) -> Iterator[RankedSet]:
    beside = file.parent / file.stem
    folder = beside if beside.is_dir() else file.parent
    for name, row in stream_table(file, "annotations", tally):
        with tally.row(name):
            names, ranks = (_list(_object(row), key) for key in LISTS)
            images = [StoredImage(path=checked.file_in(folder, each, "an image's name")) for each in names]
            numbers = [checked.integer(each, "a rank", 1) for each in ranks]
            yield _ranked(checked.prompt_in(row), images, numbers, {}, tally)


def _list(row: Mapping[str, Any], key: str) -> list[Any]:
    if not isinstance(row.get(key), list) or not row[key]:
        raise InputError(f"the {key} is {shown(row.get(key))}, not a list; download the file again")
    return row[key]


def _object(row: Any) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise InputError(f"{shown(row)} is not an object with a prompt, images and ranks; download the file again")
    return row


def _ranked(
    prompt: str,
    images: Sequence[StoredImage],
    ranks: Sequence[int],
    ratings: Mapping[str, Sequence[Any]],
    tally: Tally,
) -> RankedSet:
    """A ranked set with the ratings that every image has as its scores."""
    if len(ranks) != len(images):
        raise InputError(f"{len(ranks)} ranks for {len(images)} images; download the file again")
    scores: dict[str, tuple[float, ...]] = {}
    for name, values in ratings.items():
        if len(values) == len(images) and not any(map(checked.missing, values)):
            scores[name] = tuple(checked.finite_number(value, f"the {name}") for value in values)
        elif not all(map(checked.missing, values)):
            tally.drop(f"sets in which an image has no {name}")
    return checked_set(RankedSet(prompt, tuple(images), rank(ranks), scores=scores))


_AN_IMAGE_A_ROW = {"embedded": _embedded, "paths": _paths, "json": _json}
_WHOLE = {"groups": _groups, "pairs": _pairs, "lists": _lists}

READER = FormatReader(
    matches,
    read,
    "ImageRewardDB (metadata-train.parquet, or Parquet or JSON with its columns)",
    splits=True,
)
