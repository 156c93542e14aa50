"""Open Image Preferences v1 (`data-is-better-together/open-image-preferences-v1-binarized`): Parquet files of pairs.

A row has `prompt`, the images `chosen` and `rejected`, and where they are known `chosen_model` and `rejected_model`.
Any other Parquet file with these columns is read too, such as what `datasets` writes of pairs with embedded images.
The set without `-binarized` has the images of two prompts by two models and no preferences; those are in Argilla's
export `open-image-preferences-v1-results`, whose images are addresses on the network.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from palate.core.errors import InputError
from palate.prefer.readers.reader import EVERYTHING, FormatReader, Selection
from palate.prefer.readers.splits import files_by_split
from palate.prefer.readers.voted_pairs import voted_pair
from palate.records import checked
from palate.records.parquet import parquet_columns, parquet_files, parquet_rows, parquet_schema
from palate.records.parquet_io import image_of, image_type
from palate.records.ranked import RankedSet
from palate.records.tally import Tally

IMAGES, MODELS = ("chosen", "rejected"), ("chosen_model", "rejected_model")
REQUIRED = ("prompt", *IMAGES)
UNCOMPARED = {"quality_prompt", "simplified_prompt"}
"""Columns of the set without preferences."""


def matches(path: Path) -> bool:
    """Whether this is a Parquet file with such columns, or a folder of them."""
    import pyarrow as pa

    files = [file for files in files_by_split(path, ".parquet").values() for file in files]
    if not files:
        return False
    schema = parquet_schema(files[0])
    if UNCOMPARED.issubset(schema.names):
        return True
    return set(REQUIRED).issubset(schema.names) and all(pa.types.is_struct(schema.field(each).type) for each in IMAGES)


def read(path: Path, tally: Tally, selection: Selection = EVERYTHING) -> Iterator[RankedSet]:
    """One pair for each row; the split was selected before.

    Raises:
        InputError: the files have no preferences, or a row is bad.
    """
    import pyarrow as pa

    text = pa.string()
    columns = pa.schema({"prompt": text, **dict.fromkeys(IMAGES, image_type()), **dict.fromkeys(MODELS, text)})
    for file in parquet_files(path):
        if UNCOMPARED.issubset(found := parquet_columns(file)) and not set(IMAGES).intersection(found):
            raise InputError(f"{file} has images and no preferences; download open-image-preferences-v1-binarized")
        for name, row in parquet_rows(file, REQUIRED, columns):
            with tally.row(name):
                better, worse = (image_of(row[column] or {}, name, column) for column in IMAGES)
                systems = [checked.optional_name(row.get(model), f"the {model}") for model in MODELS]
                yield voted_pair(checked.text(row["prompt"], "the prompt"), better, worse, systems=systems)


READER = FormatReader(
    matches,
    read,
    "Open Image Preferences (Parquet with prompt, chosen and rejected)",
    splits=True,
    in_parts=True,
)
