"""A folder of the user's own images with a table of preferences.

The table is `metadata.csv`, `metadata.jsonl` or `metadata.parquet` in the folder, in one of two layouts:

- one pair per row: `prompt`, `preferred`, `rejected` (file names in the folder), and optionally `rater`, and `tie` for
  a pair of which neither is better; several rows with the same two images are the votes of several raters;
- one image per row, as in Hugging Face's ImageFolder: `file_name`, `prompt`, `rank` (1 is best, ties share a rank); the
  rows of one prompt are one ranked set.

The column names `preferred_file_name` and `rejected_file_name` are also possible: with these,
`datasets.load_dataset("imagefolder")` opens the folder too. The column of the prompt may be `caption` or `text`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from palate.core.errors import InputError
from palate.prefer.aggregation import aggregate
from palate.records import checked
from palate.records.checked_set import checked_set
from palate.records.image_folder import table_of
from palate.records.images import StoredImage
from palate.records.ranked import RankedSet, Vote
from palate.records.table_files import NamedRow, read_table
from palate.records.tally import Tally

PAIR, IMAGE = ("prompt", "preferred", "rejected"), ("file_name", "prompt", "rank")
SUFFIX = "_file_name"


def matches(path: Path) -> bool:
    """Whether this is a folder with such a table."""
    return table_of(path) is not None


def read(path: Path, tally: Tally) -> Iterator[RankedSet]:
    """One ranked set for each compared pair of images, or for each prompt.

    Prompts with a single image are left out and counted.

    Raises:
        InputError: the table has neither layout, or a row is bad.
    """
    rows = _rows(path, tally)
    columns = {column for _, row in rows[:1] for column in row}
    if columns.issuperset(PAIR[1:]):
        yield from _pairs(path, rows, tally)
    elif columns.issuperset((IMAGE[0], IMAGE[2])):
        yield from _rankings(path, rows, tally)
    elif rows:
        raise InputError(
            f"the table in {path} has the columns {', '.join(sorted(columns))}; it needs {', '.join(PAIR)} "
            f"(a pair a row) or {', '.join(IMAGE)} (an image a row)"
        )


def _rows(path: Path, tally: Tally) -> list[NamedRow]:
    table = table_of(path)
    if table is None:
        raise InputError(f"{path} has no table of preferences; write metadata.csv, a row for each pair or image")
    rows = read_table(table, "table of preferences", tally)
    if not rows and not tally.bad:
        raise InputError(f"{table} has no rows; write one for each pair or image")
    return [(name, {_short(column): value for column, value in row.items()}) for name, row in rows]


def _short(column: str) -> str:
    """`preferred` of `preferred_file_name`."""
    return column.removesuffix(SUFFIX) if column.removesuffix(SUFFIX) in PAIR else column


def _pairs(path: Path, rows: list[NamedRow], tally: Tally) -> Iterator[RankedSet]:
    """The rows with the same prompt and the same two images become one set, with a vote for each row."""
    sets: dict[tuple[str, Path, Path], list[tuple[str, str, tuple[int, ...]]]] = {}
    for name, row in rows:
        with tally.row(name):
            prompt = checked.prompt_in(row).strip()
            preferred, rejected = (_image(path, row, column, f"the {column} image") for column in PAIR[1:])
            if preferred == rejected:
                raise InputError(f"{row[PAIR[1]]!r} is both preferred and rejected; name two images")
            first, second = sorted((preferred, rejected), key=str)
            tie = checked.yes_or_no(row.get("tie"), "the tie")
            ranks = (1, 1) if tie else (1, 2) if preferred == first else (2, 1)
            rater = checked.optional_name(row.get("rater"), "the rater")
            sets.setdefault((prompt, first, second), []).append((name, rater, ranks))
    for (prompt, first, second), cast in sets.items():
        votes = tuple(Vote(rater or f"rater {i}", ranks) for i, (_, rater, ranks) in enumerate(cast))
        with tally.row(cast[0][0]):
            images = StoredImage(path=first), StoredImage(path=second)
            yield checked_set(RankedSet(prompt, images, aggregate(votes, 2), votes))


def _rankings(path: Path, rows: list[NamedRow], tally: Tally) -> Iterator[RankedSet]:
    """The rows of each prompt become one set."""
    sets: dict[str, list[tuple[str, Path, int]]] = {}
    for name, row in rows:
        with tally.row(name):
            prompt = checked.prompt_in(row).strip()
            image = _image(path, row, IMAGE[0], f"the {IMAGE[0]}")
            sets.setdefault(prompt, []).append((name, image, checked.rank_number(row.get(IMAGE[2]), f"the {IMAGE[2]}")))
    for prompt, images in sets.items():
        if len(images) < 2:
            tally.drop("prompts with a single image")
            continue
        with tally.row(f"{images[0][0]} and the others of its prompt"):
            files = [file for _, file, _ in images]
            if twice := [file for file in files if files.count(file) > 1]:
                raise InputError(f"the image {twice[0].name!r} occurs twice; name each image once")
            stored = tuple(StoredImage(path=file) for file in files)
            yield checked_set(RankedSet(prompt, stored, tuple(place for _, _, place in images)))


def _image(path: Path, row: dict[str, Any], column: str, what: str) -> Path:
    name = row.get(column)
    return checked.file_in(path, name.strip() if isinstance(name, str) else name, what)
