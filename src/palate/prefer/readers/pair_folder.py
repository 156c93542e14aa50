"""A table of the user's own preferences, and the images that it names.

The table is a file (`.csv`, `.tsv`, `.jsonl`, `.json` or `.parquet`), or `metadata.csv`, `.jsonl` or `.parquet` in a
folder; images are named relative to the table's folder. It has one of three layouts:

- one pair per row: `prompt`, `preferred`, `rejected`, and optionally `rater`, and `tie` for a pair of which neither is
  better; several rows with the same two images are the votes of several raters. Where a row is the sum of several
  raters, `votes_preferred` and `votes_rejected` count them, or `share` is the share that prefers the preferred image;
  `confidence` is a number in [0, 1] that selects rows.
- one image per row, as in Hugging Face's ImageFolder: `file_name`, `prompt`, `rank` (1 is best, ties share a rank); the
  rows of one prompt are one ranked set;
- one ranked set per row: `prompt`, `images` and `ranks`, two lists (in CSV as JSON).

Other names of the same columns are in `NAMES`. With `preferred_file_name` and `rejected_file_name`,
`datasets.load_dataset("imagefolder")` opens the folder too. The column of the prompt may be `caption` or `text`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from palate.core.errors import InputError, nearest
from palate.core.values import shown
from palate.prefer.aggregation import aggregate
from palate.prefer.readers.reader import EVERYTHING, FormatReader, Selection
from palate.prefer.readers.voted_pairs import counts_of_share, sure_enough, vote_counts
from palate.records import checked
from palate.records.checked_set import OnceDecoded, checked_set
from palate.records.image_folder import table_of
from palate.records.images import StoredImage
from palate.records.jsonlines import json_value
from palate.records.parquet import parquet_columns
from palate.records.ranked import RankedSet, Vote, rank
from palate.records.table_files import TABLE_ENDINGS, NamedRow, ending, read_table
from palate.records.table_stream import first_object, stream_table
from palate.records.tally import Tally

PAIR, IMAGE, LISTS = ("preferred", "rejected"), ("file_name", "rank"), ("images", "ranks")
SAME = {
    "preferred": ("chosen", "winner", "better", "img_better"),
    "rejected": ("loser", "worse", "img_worse"),
}
"""Other names of the columns of a pair."""
NAMES = {
    **{name: (name, *others) for name, others in SAME.items()},
    **{f"votes_{name}": tuple(f"votes_{each}" for each in (name, *others)) for name, others in SAME.items()},
    "file_name": ("file_name",),
    "rank": ("rank",),
    "images": ("images",),
    "ranks": ("ranks", "ranking"),
    "tie": ("tie",),
    "rater": ("rater",),
    "share": ("share",),
    "confidence": ("confidence",),
}
"""The columns, each with all its names; a pair's also with `SUFFIX`."""
SUFFIX = "_file_name"
_COLUMN = {name: column for column, names in NAMES.items() for name in names}
_COLUMN |= {f"{name}{SUFFIX}": column for column in PAIR for name in NAMES[column]}


def matches(path: Path) -> bool:
    """Whether this is a folder with such a table, or a table with such columns.

    A file of CSV, TSV or JSON lines is taken for such a table in any case, so that `read` can name its columns.
    """
    if path.is_dir():
        return table_of(path) is not None
    if not path.is_file() or ending(path) not in TABLE_ENDINGS:
        return False
    if ending(path) == ".parquet":
        return _layout(map(_short, parquet_columns(path))) in (PAIR, IMAGE)  # Palate's own files have lists
    return ending(path) != ".json" or _layout(map(_short, first_object(path) or {})) is not None


def read(path: Path, tally: Tally, selection: Selection = EVERYTHING) -> Iterator[RankedSet]:
    """One ranked set for each compared pair of images, for each prompt, or for each row.

    Prompts with a single image are left out and counted.

    Args:
        path: the folder, or the table.
        tally: counts what is left out.
        selection: what to read.

    Raises:
        InputError: the table has none of the layouts, or a row is bad.
    """
    folder, rows = _rows(path, tally)
    first = next(rows, None)
    if first is None:
        if not tally.bad:
            raise InputError(f"{path} has no rows; write one for each pair, image or ranked set")
        return
    layout = _layout(first[1])
    if layout is None:
        raise InputError(_no_layout(path, first[1]))
    yield from {PAIR: _pairs, IMAGE: _rankings, LISTS: _lists}[layout](folder, chain([first], rows), tally, selection)


def _rows(path: Path, tally: Tally) -> tuple[Path, Iterator[NamedRow]]:
    """The folder of the images, and the rows by the names of `NAMES`."""
    table = table_of(path) if path.is_dir() else path
    if table is None:
        raise InputError(f"{path} has no table of preferences; write metadata.csv, a row for each pair or image")
    read_rows = stream_table if ending(table) in (".json", ".jsonl") else read_table

    def renamed() -> Iterator[NamedRow]:
        for name, row in read_rows(table, "table of preferences", tally):
            with tally.row(name):
                yield name, _renamed(row)

    return table.parent, renamed()


def _renamed(row: Any) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise InputError(f"{shown(row)} is not an object with columns; write it again")
    found: dict[str, Any] = {}
    for name, value in row.items():
        column = _short(name)
        if column in found:
            raise InputError(f"two columns, {name!r} and another, are both the {column}; remove one")
        found[column] = value
    return found


def _short(column: Any) -> str:
    """The name in `NAMES` of a column: `preferred` for `chosen_file_name`; its own name where it has none."""
    return _COLUMN.get(str(column).strip().lower(), str(column))


def _layout(columns: Iterable[str]) -> tuple[str, str] | None:
    found = set(columns)
    return next((layout for layout in (PAIR, IMAGE, LISTS) if found.issuperset(layout)), None)


def _no_layout(path: Path, row: Mapping[str, Any]) -> str:
    unknown = [str(column) for column in row if column not in NAMES and column not in checked.prompt_columns(row)]
    meant = next((hint for column in unknown if (hint := nearest(column, _COLUMN))), "")
    return (
        f"the table in {path} has the columns {', '.join(map(str, row))}{meant}; it needs prompt and "
        f"{' and '.join(PAIR)} (a pair a row), {' and '.join(IMAGE)} (an image a row) or {' and '.join(LISTS)} "
        "(two lists a row); docs/data.md has all names"
    )


class _Cast(NamedTuple):
    """The votes of one row for a pair."""

    name: str
    rater: str
    ranks: tuple[int, ...]
    count: int


def _pairs(folder: Path, rows: Iterable[NamedRow], tally: Tally, selection: Selection) -> Iterator[RankedSet]:
    """The rows with the same prompt and the same two images become one set, with the votes of all of them."""
    sets: dict[tuple[str, Path, Path], list[_Cast]] = {}
    for name, row in rows:
        with tally.row(name):
            if reason := sure_enough(row.get("confidence"), selection.confidence, "the confidence"):
                tally.drop(reason)
                continue
            prompt = checked.prompt_in(row).strip()
            preferred, rejected = (_image(folder, row.get(column), f"the {column} image") for column in PAIR)
            if preferred == rejected:
                raise InputError(f"{row[PAIR[1]]!r} is both preferred and rejected; name two images")
            first, second = sorted((preferred, rejected), key=str)
            one, other = ((1, 2), (2, 1)) if preferred == first else ((2, 1), (1, 2))
            tie = checked.yes_or_no(row.get("tie"), "the tie")
            rater = checked.optional_name(row.get("rater"), "the rater")
            counts = None if tie else _counts(row)
            casts = [(one, counts[0]), (other, counts[1])] if counts else [((1, 1) if tie else one, 1)]
            found = sets.setdefault((prompt, first, second), [])
            found += [_Cast(name, rater, ranks, count) for ranks, count in casts if count]
    check = OnceDecoded()
    for (prompt, first, second), found in sets.items():
        each = [cast for cast in found for _ in range(cast.count)]
        votes = tuple(Vote(cast.rater or f"rater {i}", cast.ranks) for i, cast in enumerate(each))
        with tally.row(found[0].name):
            images = StoredImage(path=first), StoredImage(path=second)
            yield check(RankedSet(prompt, images, aggregate(votes, 2), votes))


def _counts(row: Mapping[str, Any]) -> tuple[int, int] | None:
    """How many raters prefer each image of a row, the preferred one first; None where the row does not say."""
    given = [row.get(f"votes_{column}") for column in PAIR]
    counts = vote_counts(given, "the number of votes") or counts_of_share(row.get("share"), "the share")
    if counts and counts[0] < counts[1]:
        raise InputError(f"{counts[0]} of {sum(counts)} raters prefer the preferred image; exchange the two images")
    return counts


def _rankings(folder: Path, rows: Iterable[NamedRow], tally: Tally, selection: Selection) -> Iterator[RankedSet]:
    """The rows of each prompt become one set."""
    _without_confidence(folder, selection)
    sets: dict[str, list[tuple[str, Path, int]]] = {}
    for name, row in rows:
        with tally.row(name):
            prompt = checked.prompt_in(row).strip()
            image = _image(folder, row.get(IMAGE[0]), f"the {IMAGE[0]}")
            sets.setdefault(prompt, []).append((name, image, checked.rank_number(row.get(IMAGE[1]), f"the {IMAGE[1]}")))
    for prompt, images in sets.items():
        if len(images) < 2:
            tally.drop("prompts with a single image")
            continue
        with tally.row(f"{images[0][0]} and the others of its prompt"):
            yield _ranked(prompt, [file for _, file, _ in images], [place for _, _, place in images])


def _lists(folder: Path, rows: Iterable[NamedRow], tally: Tally, selection: Selection) -> Iterator[RankedSet]:
    """Each row becomes a set."""
    _without_confidence(folder, selection)
    for name, row in rows:
        with tally.row(name):
            images, ranks = (_list(row.get(column), f"the {column}") for column in LISTS)
            files = [_image(folder, each, "an image") for each in images]
            places = [checked.rank_number(each, "a rank") for each in ranks]
            if len(files) != len(places):
                raise InputError(f"{len(places)} ranks for {len(files)} images; give each image one")
            yield _ranked(checked.prompt_in(row).strip(), files, rank(places))


def _ranked(prompt: str, files: Sequence[Path], ranks: Sequence[int]) -> RankedSet:
    if twice := [file for file in files if files.count(file) > 1]:
        raise InputError(f"the image {twice[0].name!r} occurs twice; name each image once")
    return checked_set(RankedSet(prompt, tuple(StoredImage(path=file) for file in files), tuple(ranks)))


def _without_confidence(folder: Path, selection: Selection) -> None:
    if selection.confidence is not None:
        raise InputError(f"the rankings in {folder} have no confidences; leave confidence out")


def _list(value: Any, what: str) -> list[Any]:
    """A list, or its JSON text as in a table of CSV."""
    try:
        found = json_value(value) if isinstance(value, str) else value
    except InputError as error:
        raise InputError(f"{what} are {shown(value)}, which is not a JSON list ({error}); write [1, 2]") from error
    if not isinstance(found, list) or not found:
        raise InputError(f"{what} are {shown(value)}, not a list; write one with an item for each image")
    return found


def _image(folder: Path, name: Any, what: str) -> Path:
    return checked.file_in(folder, name.strip() if isinstance(name, str) else name, what)


READER = FormatReader(
    matches,
    read,
    "a folder of images with metadata.csv, .jsonl or .parquet, or a table of pairs (preferred and rejected)",
    confidences=True,
)
