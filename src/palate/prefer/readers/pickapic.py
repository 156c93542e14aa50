"""Pick-a-Pic v1 and v2 (Kirstain et al. 2023, arXiv:2305.01569): the Parquet files of `yuvalkirstain/pickapic_v*`.

Both versions have the same columns; the `_no_images` editions lack `jpg_0` and `jpg_1` and cannot be read.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from palate.core.errors import InputError
from palate.prefer.formats.pickapic import (
    ARE_DIFFERENT,
    CAPTION,
    HAS_LABEL,
    IMAGES,
    LABELS,
    MODELS,
    RANKS,
    USER,
    schema,
)
from palate.prefer.readers.reader import EVERYTHING, FormatReader, Selection
from palate.prefer.readers.splits import files_by_split
from palate.records import checked
from palate.records.checked_set import checked_set
from palate.records.parquet import parquet_columns, parquet_files, parquet_rows
from palate.records.parquet_io import RowName
from palate.records.ranked import RankedSet, Vote
from palate.records.tally import Tally

REQUIRED = (CAPTION, *IMAGES, *LABELS)
READ = {*REQUIRED, *MODELS, HAS_LABEL, ARE_DIFFERENT, USER}
_EQUAL = "rows of two equal images"


def matches(path: Path) -> bool:
    """Whether this is a Parquet file, or a folder of them, with Pick-a-Pic's labels."""
    files = [file for files in files_by_split(path, ".parquet").values() for file in files]
    return bool(files) and {CAPTION, *LABELS} <= set(parquet_columns(files[0]))


def read(path: Path, tally: Tally, selection: Selection = EVERYTHING) -> Iterator[RankedSet]:
    """One pair for each row, with the vote of its user; the split was selected before.

    Rows without a label, and rows with the same image twice, are left out and counted; ties are kept.

    Raises:
        InputError: a column is missing, or a row is bad.
    """
    import pyarrow as pa

    columns = pa.schema([field for field in schema() if field.name in READ])
    for file in parquet_files(path):
        for name, row in parquet_rows(file, REQUIRED, columns):
            if row.get(HAS_LABEL) is False:
                tally.drop("rows without a label")
            elif row.get(ARE_DIFFERENT) is False or (row[IMAGES[0]] and row[IMAGES[0]] == row[IMAGES[1]]):
                tally.drop(_EQUAL)
            else:
                with tally.row(name):
                    yield checked_set(_pair(row, name))


def _pair(row: dict[str, Any], name: RowName) -> RankedSet:
    labels = row[LABELS[0]], row[LABELS[1]]
    ranks = RANKS.get(labels)
    if ranks is None:
        raise InputError(f"labels {labels} do not rank a pair; they must be (1, 0), (0, 1) or, for a tie, (0.5, 0.5)")
    user, models = row.get(USER), [checked.optional_name(row.get(model), model) for model in MODELS]
    return RankedSet(
        prompt=checked.text(row[CAPTION], f"the {CAPTION}"),
        images=tuple(name.image(row[column], column) for column in IMAGES),
        ranks=ranks,
        votes=() if user is None else (Vote(f"user {user}", ranks),),
        systems=tuple(models) if any(models) else (),
    )


READER = FormatReader(matches, read, "Pick-a-Pic's Parquet", splits=True, in_parts=True)
