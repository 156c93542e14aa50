"""Ranked sets as Parquet, images embedded: `datasets.load_dataset("parquet", data_files=...)` shows them as images.

| column         | type                                               | what                                |
|----------------|----------------------------------------------------|-------------------------------------|
| `prompt`       | string                                             | what the images were made from      |
| `images`       | list of {`bytes`, `path`}                          | n encoded images                    |
| `ranks`        | list of int32, or null                             | n ranks, 1 is best, ties share      |
| `votes`        | list of {`rater`: string, `ranks`: int32s}         | n ranks of each rater               |
| `systems`      | list of string                                     | n names of models, or empty         |
| `seeds`        | list of int64                                      | n seeds, or empty                   |
| `scores`       | list of {`scorer`: string, `values`: float64s}     | n numbers of each scorer            |
| `image_facts`  | list of {`sha256`: binary, `width`, `height`: int32} | of n images that were decoded once |
| `image_places` | list of {`file`, `row`, `column`, `item`}          | n places, where the images are not embedded |

Only the columns `prompt`, `images` and `ranks` are required. An image without `bytes` is the file at `path`, relative
to the table's folder. Where `image_facts` has no nulls, images are not read until they are used.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from palate.core.errors import InputError
from palate.records import checked
from palate.records.checked_set import checked_set
from palate.records.images import Facts, Place, StoredImage
from palate.records.parquet_io import (
    ImageFolders,
    RowName,
    embedded,
    image_of,
    parquet_columns,
    parquet_files,
    parquet_rows,
    parquet_schema,
    write_rows,
)
from palate.records.places import damage_named, open_parquet
from palate.records.ranked import RankedSet, Vote
from palate.records.tally import Tally

if TYPE_CHECKING:
    import datasets
    import pyarrow as pa

__all__ = [
    "features_of_sets",
    "iterate_sets",
    "parquet_columns",
    "parquet_files",
    "parquet_rows",
    "parquet_schema",
    "read_sets",
    "write_rows",
    "write_sets",
]

REQUIRED = ("prompt", "images", "ranks")
FACTS, PLACES = "image_facts", "image_places"


def features_of_sets() -> datasets.Features:
    """The schema of a file with embedded images, as `datasets.Features`."""
    from datasets import Features, Image, List, Value

    ranks = List(Value("int32"))
    return Features(
        {
            "prompt": Value("string"),
            "images": List(Image()),
            "ranks": ranks,
            "votes": List({"rater": Value("string"), "ranks": ranks}),
            "systems": List(Value("string")),
            "seeds": List(Value("int64")),
            "scores": List({"scorer": Value("string"), "values": List(Value("float64"))}),
            FACTS: List(facts_feature()),
        }
    )


def facts_feature() -> dict[str, Any]:
    """The facts about an image that was decoded once, as `datasets` features."""
    from datasets import Value

    return {"sha256": Value("binary"), "width": Value("int32"), "height": Value("int32")}


def place_type() -> pa.DataType:
    """The type of an image's place; row and item are -1 for an image file."""
    import pyarrow as pa

    return pa.struct({"file": pa.string(), "row": pa.int64(), "column": pa.string(), "item": pa.int32()})


def schema_of_sets(embed: bool = True) -> pa.Schema:
    """The schema of ranked sets with embedded images, or with the places of images that stay where they are."""
    import pyarrow as pa

    schema = features_of_sets().arrow_schema
    return schema if embed else schema.append(pa.field(PLACES, pa.list_(place_type())))


def write_sets(
    sets: Iterable[RankedSet],
    path: Path | str,
    *,
    embed: bool = True,
    about: Mapping[str, str] | None = None,
    empty: bool = False,
) -> int:
    """Writes ranked sets, a few at a time; after an error, `path` is as it was before.

    Args:
        embed: write the images into the file; otherwise only their places.
        about: key and value pairs for the file's metadata.
        empty: write an empty file where there is no set, instead of raising an error.

    Returns:
        The number of sets.

    Raises:
        InputError: an image cannot be read or decoded, or there is no set.
    """
    rows = (_row(each, embed) for each in sets)
    return write_rows(rows, schema_of_sets(embed), path, None if empty else "ranked set", about)


def read_sets(path: Path | str, *, skip_bad: bool = False) -> list[RankedSet]:
    """All ranked sets of a Parquet file, or of all Parquet files in a folder; their images stay on the disk.

    Args:
        path: a `.parquet` file, or a folder of them.
        skip_bad: leave out rows with a broken image or a ranking that does not match, instead of stopping.

    Raises:
        InputError: there is no such file, it has another schema, or a row is bad; the message names it.
    """
    return [released(each) for each in iterate_sets(path, Tally(skip_bad))]


def iterate_sets(path: Path | str, tally: Tally) -> Iterator[RankedSet]:
    """Like `read_sets`, one set at a time; what is left out is counted in `tally`.

    Each image was decoded: either now, with its bytes still in memory, or when its facts were written.
    """
    for file in parquet_files(path):
        known = has_facts(file)
        needed = tuple(name for name in REQUIRED if name != "images" or not known)
        schema = without(schema_of_sets(embed=False), ("images",) if known else (FACTS, PLACES))
        folders = ImageFolders(file)
        for name, row in parquet_rows(file, needed, schema):
            with tally.row(name):
                yield checked_set(_ranked_set(row, name, folders))


def without(schema: pa.Schema, names: Collection[str]) -> pa.Schema:
    """A schema without some columns."""
    import pyarrow as pa

    return pa.schema([field for field in schema if field.name not in names])


def has_facts(file: Path, *, listed: bool = True) -> bool:
    """Whether a Parquet file has the facts of every image in it.

    Args:
        listed: whether it is a file of ranked sets, which have lists of images; otherwise it has graded images.
    """
    leaves = {f"{FACTS}.list.element.{name}" if listed else f"{FACTS}.{name}" for name in Facts._fields}
    with open_parquet(file) as table, damage_named(file):
        groups = [table.metadata.row_group(number) for number in range(table.num_row_groups)]
        columns = [group.column(number) for group in groups for number in range(group.num_columns)]
        found = [(column.path_in_schema, column.statistics) for column in columns if column.path_in_schema in leaves]
    whole = all(statistics is not None and statistics.null_count == 0 for _, statistics in found)
    return {name for name, _ in found} == leaves and whole


def released(ranked: RankedSet) -> RankedSet:
    """The same set without the bytes of images that can be read from their places again."""
    return ranked.with_images(image.released() for image in ranked.images)


def facts_row(image: StoredImage) -> dict[str, Any]:
    """The facts of an image that was decoded, as a column holds them."""
    assert image.facts is not None  # `StoredImage.checked` sets them
    return {**image.facts._asdict(), "sha256": bytes.fromhex(image.facts.sha256)}


def facts_of(row: Mapping[str, Any]) -> Facts:
    """The facts that `facts_row` wrote; InputError where a size is none."""
    width, height = (checked.integer(row[name], f"the {name} of an image", 1) for name in ("width", "height"))
    return Facts(row["sha256"].hex(), width, height)


def placed(image: StoredImage) -> tuple[dict[str, Any], dict[str, Any]]:
    """The values of `images` and `image_places` for an image that stays where it is; one in memory is embedded.

    The place of a link is that of the link, not of its target, which may be in another folder, as in a hub's cache.
    """
    if image.place:
        return {}, {**image.place._asdict(), "file": os.path.normpath(image.place.file.absolute())}
    if image.path:
        return {}, {"file": os.path.normpath(image.path.absolute()), "row": -1, "item": -1}
    return embedded(image), {"row": -1, "item": -1}


def image_at(place: Mapping[str, Any] | None, here: Place, facts: Facts, folders: ImageFolders) -> StoredImage:
    """The image whose place `placed` wrote.

    Args:
        place: the place that was written.
        here: the place of the image if it is embedded.
        facts: the facts of the image.
        folders: the folders in which the image may be.

    Raises:
        InputError: the image is in another folder.
    """
    if place is None or place["file"] is None:
        return StoredImage(place=here, facts=facts)
    folders.check(place["file"])
    file, row, item = Path(place["file"]), *(-1 if place[name] is None else place[name] for name in ("row", "item"))
    if row < 0:
        return StoredImage(path=file, facts=facts)
    return StoredImage(place=Place(file, row, place["column"] or "", item), facts=facts)


def _row(ranked: RankedSet, embed: bool) -> dict[str, Any]:
    images = [image.checked() for image in ranked.images]
    kept, places = zip(*[(embedded(image), None) if embed else placed(image) for image in images])
    return {
        "prompt": ranked.prompt,
        "images": kept,
        "ranks": ranked.ranks,
        "votes": [{"rater": vote.rater, "ranks": vote.ranks} for vote in ranked.votes],
        "systems": ranked.systems,
        "seeds": ranked.seeds,
        "scores": [{"scorer": name, "values": values} for name, values in ranked.scores.items()],
        FACTS: [facts_row(image) for image in images],
        **({} if embed else {PLACES: places}),
    }


def ranks_of(ranks: Iterable[int | None] | None, what: str) -> tuple[int, ...]:
    """The ranks of a list column; InputError if the list or one rank is missing. `what` names the ranking."""
    if ranks is None:
        raise InputError(f"{what} has no ranks; remove it, or write its ranks")
    return tuple(checked.integer(rank, f"a rank of {what}") for rank in ranks)


def vote_of(vote: Mapping[str, Any] | None) -> Vote:
    """The vote of a list column's item; InputError if it or a part of it is missing."""
    if vote is None:
        raise InputError("a vote is missing; remove it from the list")
    rater = checked.optional_name(vote["rater"], "a rater")
    return Vote(rater, ranks_of(vote["ranks"], f"the vote of {rater!r}"))


def _ranked_set(row: dict[str, Any], name: RowName, folders: ImageFolders) -> RankedSet:
    return RankedSet(
        prompt=checked.text(row["prompt"], "the prompt"),
        images=tuple(_images(row, name, folders)),
        ranks=None if row["ranks"] is None else ranks_of(row["ranks"], "the ranking"),
        votes=tuple(vote_of(vote) for vote in row.get("votes") or ()),
        systems=tuple(checked.optional_name(system, "a system") for system in row.get("systems") or ()),
        seeds=tuple(checked.integer(seed, "a seed") for seed in row.get("seeds") or ()),
        scores=dict(_score_of(score) for score in row.get("scores") or ()),
    )


def _score_of(score: Mapping[str, Any] | None) -> tuple[str, tuple[float, ...]]:
    """The name of a scorer and its scores."""
    if score is None:
        raise InputError("a scorer is missing among the scores; remove it from the list")
    scorer = checked.text(score["scorer"], "a scorer's name")
    values = score["values"] or ()
    return scorer, tuple(checked.finite_number(value, f"a score of {scorer!r}") for value in values)


def _images(row: dict[str, Any], name: RowName, folders: ImageFolders) -> Iterator[StoredImage]:
    if FACTS not in row:
        for item, image in enumerate(row["images"] or ()):
            yield image_of(image or {}, name, "images", item)
        return
    places = row.get(PLACES) or [None] * len(row[FACTS])
    if len(places) != len(row[FACTS]):
        raise InputError(f"{len(places)} {PLACES} for {len(row[FACTS])} {FACTS}; write the file again")
    for item, (facts, place) in enumerate(zip(row[FACTS], places)):
        yield image_at(place, Place(name.file, name.number, "images", item), facts_of(facts), folders)
