"""Graded images as Parquet: `prompt`, `image`, `grade`, and the facts of each image as in a file of ranked sets."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from palate.records import checked
from palate.records.graded_image import GradedImage
from palate.records.images import Place, StoredImage
from palate.records.parquet import (
    FACTS,
    PLACES,
    facts_feature,
    facts_of,
    facts_row,
    has_facts,
    image_at,
    place_type,
    placed,
    without,
)
from palate.records.parquet_io import ImageFolders, RowName, embedded, image_of, parquet_rows, write_rows
from palate.records.tally import Tally

if TYPE_CHECKING:
    import datasets
    import pyarrow as pa

COLUMNS = ("prompt", "image", "grade")


def features_of_graded() -> datasets.Features:
    """The schema of a file with embedded images, as `datasets.Features`."""
    from datasets import Features, Image, Value

    return Features({"prompt": Value("string"), "image": Image(), "grade": Value("float64"), FACTS: facts_feature()})


def schema_of_graded(embed: bool = True) -> pa.Schema:
    """The schema of graded images with the images embedded, or with the places of images that stay where they are."""
    import pyarrow as pa

    schema = features_of_graded().arrow_schema
    return schema if embed else schema.append(pa.field(PLACES, place_type()))


def write_graded(
    images: Iterable[GradedImage], path: Path | str, *, embed: bool = True, about: Mapping[str, str] | None = None
) -> int:
    """Writes graded images one after the other; after an error, `path` is as it was before.

    Args:
        embed: write the images into the file; otherwise only their places.
        about: key and value pairs for the file's metadata.

    Returns:
        The number of graded images.

    Raises:
        InputError: an image cannot be read or decoded, or there is no graded image.
    """
    return write_rows((_row(each, embed) for each in images), schema_of_graded(embed), path, "graded image", about)


def iterate_graded(file: Path, tally: Tally) -> Iterator[GradedImage]:
    """The graded images of a Parquet file; each image was decoded, now or when its facts were written.

    Raises:
        InputError: the file has another schema, or a bad row that `tally` does not leave out.
    """
    known = has_facts(file, listed=False)
    needed = tuple(name for name in COLUMNS if name != "image" or not known)
    schema = without(schema_of_graded(embed=False), ("image",) if known else (FACTS, PLACES))
    folders = ImageFolders(file)
    for name, row in parquet_rows(file, needed, schema):
        with tally.row(name):
            image = _known_image(row, name, folders) if known else image_of(row["image"] or {}, name, "image")
            yield GradedImage(checked.prompt_in(row), image.checked(), checked.finite_number(row["grade"], "the grade"))


def _row(graded: GradedImage, embed: bool) -> dict[str, Any]:
    image = graded.image.checked()
    kept, place = (embedded(image), None) if embed else placed(image)
    row = {"prompt": graded.prompt, "image": kept, "grade": graded.grade, FACTS: facts_row(image)}
    return row if embed else {**row, PLACES: place}


def _known_image(row: Mapping[str, Any], name: RowName, folders: ImageFolders) -> StoredImage:
    return image_at(row.get(PLACES), Place(name.file, name.number, "image"), facts_of(row[FACTS]), folders)
