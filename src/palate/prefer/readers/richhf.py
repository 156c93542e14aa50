"""RichHF-18K (Liang et al. 2024, arXiv:2312.10240): `train.tfrecord`, `dev.tfrecord` and `test.tfrecord`.

An example has the file name of an image of Pick-a-Pic v1 and four scores in [0, 1], where 1 is best. Images and prompts
are not in it. They come from Pick-a-Pic's Parquet files anywhere below the folder (a file name is the image's uid), or
from image files in the folder under the names in the examples, with `metadata.csv`, `.jsonl` or `.parquet` that has
`file_name` and `prompt`. The heat maps and the misaligned words have no place in Palate's records.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeAlias

from palate.core.errors import InputError
from palate.prefer.formats.pickapic import CAPTION, IMAGES, UIDS
from palate.prefer.readers.reader import EVERYTHING, FormatReader, Selection
from palate.prefer.readers.splits import files_by_split, of_split
from palate.records import checked
from palate.records.checked_set import checked_set
from palate.records.graded_image import GradedImage
from palate.records.image_folder import table_of
from palate.records.images import Place, StoredImage
from palate.records.parquet import parquet_columns, parquet_rows
from palate.records.ranked import RankedSet, rank
from palate.records.table_files import read_table
from palate.records.tally import Tally
from palate.records.tfrecord import Features, iterate_examples

OVERALL = "overall_score"
SCORES = (OVERALL, "aesthetics_score", "artifact_score", "misalignment_score")
FILE = "filename"
_MISSING = "examples whose image is not there"


class _Rated(NamedTuple):
    """An image with its scores."""

    name: str
    prompt: str
    image: StoredImage
    scores: dict[str, float]


_Found: TypeAlias = tuple[str, object, Callable[[], StoredImage]]
"""The uid of an image, its prompt, and what makes the image's record."""


def matches(path: Path) -> bool:
    """Whether this is a TFRecord file, or a folder with some."""
    return bool(_found(path))


def read(path: Path, tally: Tally, selection: Selection = EVERYTHING) -> Iterator[RankedSet]:
    """The images of each prompt, ranked by `overall_score`, with all four scores.

    Prompts with a single image, and examples whose image is not there, are left out and counted.

    Raises:
        InputError: there are neither Pick-a-Pic's files nor a table of prompts, or an example is bad.
    """
    prompts: dict[str, dict[str, _Rated]] = {}
    for rated in _rated(path, tally, selection):
        prompts.setdefault(rated.prompt, {}).setdefault(str(rated.image), rated)
    for prompt, found in prompts.items():
        images = list(found.values())
        if len(images) < 2:
            tally.drop("prompts with a single image")
            continue
        with tally.row(f"{images[0].name} and the others of its prompt"):
            scores = {name: tuple(each.scores[name] for each in images) for name in SCORES}
            ranks = rank([-value for value in scores[OVERALL]])
            yield checked_set(RankedSet(prompt, tuple(each.image for each in images), ranks, scores=scores))


def grades(path: Path, tally: Tally, selection: Selection = EVERYTHING) -> Iterator[GradedImage]:
    """Each image with its `overall_score` as its grade; what is left out is counted as by `read`."""
    for rated in _rated(path, tally, selection):
        with tally.row(rated.name):
            yield GradedImage(rated.prompt, rated.image.checked(), rated.scores[OVERALL])


def _found(path: Path) -> dict[str, list[Path]]:
    return files_by_split(path, ".tfrecord")


def _rated(path: Path, tally: Tally, selection: Selection) -> Iterator[_Rated]:
    files = of_split(_found(path), selection.split, path, tally)
    sources = _sources(path if path.is_dir() else path.parent)
    examples: list[tuple[str, str, dict[str, float]]] = []
    for file in files:
        for name, example in iterate_examples(file, tally):
            with tally.row(name):
                uid = _uid(_text(example, FILE))
                examples.append((name, uid, {score: _score(example, score) for score in SCORES}))
    images = _images(sources, {uid for _, uid, _ in examples})
    for name, uid, scores in examples:
        if uid not in images:
            tally.drop(_MISSING)
            continue
        with tally.row(name):
            prompt, image = images[uid]
            yield _Rated(name, checked.text(prompt, "the prompt"), image, scores)


def _sources(folder: Path) -> list[Path]:
    """Pick-a-Pic's files below the folder, or else the table of prompts in it; InputError where there is neither."""
    found = [file for file in sorted(folder.rglob("*.parquet")) if _is_pick_a_pic(file)]
    table = None if found else table_of(folder)
    if not found and table is None:
        raise InputError(
            f"{folder} has the scores of RichHF-18K and no images; put Pick-a-Pic v1's Parquet files into it, or "
            "image files and metadata.csv with file_name and prompt"
        )
    return [table] if table else found


def _images(sources: Iterable[Path], wanted: Collection[str]) -> dict[str, tuple[object, StoredImage]]:
    """The prompt and the image of each of the wanted uids that is there."""
    found: dict[str, tuple[object, StoredImage]] = {}
    for source in sources:
        for uid, prompt, image in _of_pick_a_pic(source) if _is_pick_a_pic(source) else _of_table(source):
            if uid in wanted:
                found.setdefault(uid, (prompt, image()))
    return found


def _is_pick_a_pic(file: Path) -> bool:
    return file.suffix == ".parquet" and {CAPTION, *UIDS, *IMAGES}.issubset(parquet_columns(file))


def _of_pick_a_pic(file: Path) -> Iterator[_Found]:
    """The images of a file, none of which is read."""
    import pyarrow as pa

    columns = pa.schema(dict.fromkeys((CAPTION, *UIDS), pa.string()))
    for name, row in parquet_rows(file, (CAPTION, *UIDS), columns):
        for uid, column in zip(UIDS, IMAGES):
            yield row[uid] or "", row[CAPTION], partial(_placed, Place(file, name.number, column))


def _of_table(table: Path) -> Iterator[_Found]:
    for _, row in read_table(table, "table of images"):
        file = checked.file_in(table.parent, row.get("file_name"), "the file_name")
        yield _uid(row["file_name"]), checked.prompt_in(row), partial(StoredImage, path=file)


def _placed(place: Place) -> StoredImage:
    return StoredImage(place=place)


def _uid(file_name: str) -> str:
    return file_name.rpartition("/")[2].rpartition(".")[0] or file_name


def _text(example: Features, name: str) -> str:
    value = next(iter(example.get(name, ())), None)
    try:
        return checked.text(value.decode() if isinstance(value, bytes) else value, f"the {name}")
    except UnicodeDecodeError as error:
        raise InputError(f"the {name} is not UTF-8; download the file again") from error


def _score(example: Features, name: str) -> float:
    value = next(iter(example.get(name, ())), None)
    score = checked.finite_number(value, f"the {name}")
    if not 0 <= score <= 1:
        raise InputError(f"the {name} is {score}, and must be from 0 to 1; download the file again")
    return score


READER = FormatReader(
    matches,
    read,
    "RichHF-18K (train.tfrecord and the images of Pick-a-Pic v1)",
    splits=True,
    grades=grades,
)
