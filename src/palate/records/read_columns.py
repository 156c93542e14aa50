"""Reading Parquet files into columns of feedback without reading the images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from palate.core.errors import InputError
from palate.records.checked_set import checked_set
from palate.records.columns import Grades, Rankings
from palate.records.graded_image import GradedImage
from palate.records.image_columns import Images, first_seen
from palate.records.images import Place, StoredImage
from palate.records.parquet import FACTS, PLACES, facts_of, place_type, ranks_of, vote_of
from palate.records.parquet_io import ImageFolders, RowName, cast_column, parquet_columns
from palate.records.places import damage_named, open_parquet
from palate.records.ranked import RankedSet
from palate.records.tally import Tally

if TYPE_CHECKING:
    import pyarrow as pa

OPTIONAL = ("votes", PLACES)
FILE, ROW = "file of the row", "number of the row"


def read_rankings(files: Sequence[Path]) -> Rankings:
    """The ranked sets of Parquet files that have the facts of their images.

    Raises:
        InputError: a set has no prompt, fewer than two images, or ranks that are missing or do not match its images; a
            set ranks a picture above itself; or an image is outside of the folders of its file.
    """
    import pyarrow as pa

    ranks = pa.list_(pa.int32())
    types = {"prompt": pa.string(), "ranks": ranks, "votes": pa.list_(pa.struct({"ranks": ranks}))}
    table = _read(files, types, listed=True)
    size, given = _lengths(table.column(FACTS)), _lengths(table.column("ranks"))
    start = np.concatenate([[0], np.cumsum(size)])
    prompts, prompt = _encoded(table.column("prompt"))
    voted = np.repeat(np.arange(len(table)), _lengths(table.column("votes")))
    (votes,) = _flat(table.column("votes")).flatten()  # of a vote that is missing, its ranks are
    rank, vote = (_whole(each) for each in (_flat(table.column("ranks")), votes.flatten()))
    bad = _blank(prompts)[prompt] | (size < 2)
    bad |= _misfit(rank, given, size) & table.column("ranks").is_valid().to_numpy()
    bad[voted[_misfit(vote, _lengths(votes), size[voted])]] = True
    _refuse_sets(files, table, bad)
    spread = np.zeros(start[-1], np.int32)
    spread[np.repeat(given > 0, size)] = rank
    images, image = _images(files, table, size, "images")
    of_set = np.repeat(np.arange(len(table)), size)
    bad[of_set[_above_itself(of_set, image, spread)]] = True
    bad[of_set[(images.size.min(1) < 1)[image]]] = True
    _refuse_sets(files, table, bad)
    return Rankings(prompts, prompt, images, image, spread, start, voted, vote)


def read_grades(files: Sequence[Path]) -> Grades:
    """The graded images of Parquet files that have their facts.

    Raises:
        InputError: a graded image has no prompt, a grade outside [0, 1], or an image outside of the folders of its
            file.
    """
    import pyarrow as pa

    table = _read(files, {"prompt": pa.string(), "grade": pa.float64()}, listed=False)
    prompts, prompt = _encoded(table.column("prompt"))
    grade = table.column("grade").to_numpy()
    bad = _blank(prompts)[prompt] | ~((grade >= 0) & (grade <= 1))  # a missing one is nan
    images, image = _images(files, table, np.ones(len(table), int), "image")
    bad |= (images.size.min(1) < 1)[image]
    if bad.any():
        row = table.slice(np.flatnonzero(bad)[0], 1).to_pylist()[0]
        name = RowName(files[row[FILE]], row[ROW])
        with Tally().row(name):
            shown = StoredImage(place=Place(name.file, name.number, "image"), facts=facts_of(row[FACTS]))
            GradedImage(row["prompt"] or "", shown, float(grade[bad][0]))
    return Grades(prompts, prompt, images, image, grade)


def _read(files: Sequence[Path], types: dict[str, pa.DataType], *, listed: bool) -> pa.Table:
    """The given columns of all files, null where a file lacks one, and the file and number of each row."""
    import pyarrow as pa

    facts = pa.struct({"sha256": pa.binary(), "width": pa.int32(), "height": pa.int32()})
    of_images = {FACTS: facts, PLACES: place_type()}
    types = types | {name: pa.list_(kind) if listed else kind for name, kind in of_images.items()}
    tables = []
    for number, file in enumerate(files):
        names = parquet_columns(file)
        if missing := [name for name in types if name not in (*names, *OPTIONAL)]:
            raise InputError(f"{file} lacks the columns {', '.join(missing)}; it has {', '.join(names)}")
        found = [name for name in types if name in names]
        with open_parquet(file) as parquet, damage_named(file):
            table = parquet.read(columns=found)
        columns: dict[str, Any] = {
            name: cast_column(table.column(name), pa.field(name, kind), file)
            if name in found
            else pa.nulls(len(table), kind)
            for name, kind in types.items()
        }
        with damage_named(file):
            pa.table(columns).validate(full=True)  # of text that is not UTF-8
        tables.append(pa.table(columns | {FILE: np.full(len(table), number), ROW: np.arange(len(table))}))
    return pa.concat_tables(tables)


def _encoded(column: pa.ChunkedArray) -> tuple[list[str], np.ndarray]:
    """The distinct texts of a column in the order of their first occurrence, and the index of each row's text."""
    encoded = column.fill_null("").combine_chunks().dictionary_encode()
    return encoded.dictionary.to_pylist(), encoded.indices.to_numpy()


def _flat(column: pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks().flatten()


def _lengths(column: pa.ChunkedArray | pa.Array) -> np.ndarray:
    """How many items each row's list has; 0 where there is none."""
    import pyarrow.compute as pc

    return pc.call_function("list_value_length", [column]).fill_null(0).to_numpy()


def _whole(ranks: pa.Array) -> np.ndarray:
    """Ranks as numbers, 0 where one is missing: no ranking has that."""
    return ranks.fill_null(0).to_numpy()


def _blank(prompts: Sequence[str]) -> np.ndarray:
    return np.array([not prompt.strip() for prompt in prompts], bool)


def _misfit(rank: np.ndarray, given: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Which rankings do not have as many ranks as their set has images, or do not have 1 as their lowest rank [K].

    Args:
        rank: the rankings, concatenated.
        given: the number of ranks of each [K].
        size: the number of ranks that each must have [K].
    """
    lowest = np.ones(len(given), int)
    if (given > 0).any():
        starts = (np.cumsum(given) - given)[given > 0]
        lowest[given > 0] = np.minimum.reduceat(rank, starts)
    return (given != size) | (lowest != 1)


def _above_itself(of_set: np.ndarray, image: np.ndarray, rank: np.ndarray) -> np.ndarray:
    """The members of sets whose image is in the set once more, with another rank.

    Args:
        of_set: the set of each member [M].
        image: the number of its image [M].
        rank: its rank [M].
    """
    order = np.lexsort((image, of_set))
    same, other = (np.diff(each[order]) for each in (of_set * (image.max(initial=0) + 1) + image, rank))
    return order[1:][(same == 0) & (other != 0)]


def _refuse_sets(files: Sequence[Path], table: pa.Table, bad: np.ndarray) -> None:
    """Raises the error that the record of the first bad row raises; `bad` [S] says which rows are bad."""
    if not bad.any():
        return
    row = table.slice(int(np.flatnonzero(bad)[0]), 1).to_pylist()[0]
    file, number = files[row[FILE]], row[ROW]
    with Tally().row(RowName(file, number)):
        places = (Place(file, number, "images", item) for item in range(len(row[FACTS])))
        images = tuple(StoredImage(place=place, facts=facts_of(each)) for place, each in zip(places, row[FACTS]))
        ranks = None if row["ranks"] is None else ranks_of(row["ranks"], "the ranking")
        votes = tuple(vote_of(vote and {"rater": "a rater", **vote}) for vote in row["votes"] or ())
        checked_set(RankedSet(row["prompt"] or "", images, ranks, votes))


def _images(files: Sequence[Path], table: pa.Table, size: np.ndarray, column: str) -> tuple[Images, np.ndarray]:
    """The distinct images of a table, and the index among them of each member's image.

    Args:
        files: the files, in the order of their numbers in the table.
        size: the number of images of each row [S].
        column: the column of embedded images.
    """
    import pyarrow as pa

    listed = column == "images"
    facts = table.column(FACTS).combine_chunks()
    facts = facts.flatten() if listed else facts
    sha256 = cast_column(facts.field("sha256"), pa.field("sha256", pa.binary(32)), files[0])
    digest = np.frombuffer(sha256.buffers()[1], np.uint8)[32 * sha256.offset :][: 32 * len(sha256)].reshape(-1, 32)
    number, first = first_seen(digest)
    of_row = np.repeat(np.arange(len(table)), size)
    item = np.arange(len(of_row)) - (np.cumsum(size) - size)[of_row]
    found = Images(
        digest=digest,
        size=np.stack([facts.field(name).to_numpy() for name in ("width", "height")], -1),
        files=[str(file) for file in files],
        file=table.column(FILE).to_numpy()[of_row],
        row=table.column(ROW).to_numpy()[of_row],
        columns=[column],
        column=np.zeros(len(of_row), np.int32),
        item=item if listed else np.full(len(of_row), -1),
    )
    return _elsewhere(found, table, size, listed).take(first), number


def _elsewhere(images: Images, table: pa.Table, size: np.ndarray, listed: bool) -> Images:
    """The images of a table [M], with the places that the table names for images that are not embedded."""
    column = table.column(PLACES).combine_chunks()
    named = np.repeat(column.is_valid().to_numpy(zero_copy_only=False), size)
    places = column.flatten() if listed else column.drop_null()
    if len(places) != named.sum() or (listed and (_lengths(column) != size)[column.is_valid().to_numpy(False)].any()):
        raise InputError(f"{PLACES} and {FACTS} of {images.files[0]} do not match; write the file again")
    apart = places.field("file").is_valid()
    places, there = places.filter(apart), np.flatnonzero(named)[apart.to_numpy(zero_copy_only=False)]
    file = places.field("file").dictionary_encode()
    files, folders = file.dictionary.to_pylist(), [ImageFolders(Path(each)) for each in images.files]
    for pair in np.unique(images.file[there].astype(int) * len(files) + file.indices.to_numpy()).tolist():
        folders[pair // len(files)].check(files[pair % len(files)])
    name = places.field("column").fill_null("").dictionary_encode()
    changed = {
        "file": file.indices.to_numpy() + len(images.files),
        "row": places.field("row").fill_null(-1).to_numpy(),
        "column": name.indices.to_numpy() + len(images.columns),
        "item": places.field("item").fill_null(-1).to_numpy(),
    }
    arrays = {key: getattr(images, key).copy() for key in changed}
    for key, value in changed.items():
        arrays[key][there] = value
    return replace(
        images,
        **arrays,
        files=[*images.files, *files],
        columns=[*images.columns, *name.dictionary.to_pylist()],
    )
