"""Loading preferences from any source: the format of a source is detected from its files, columns and keys."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from palate.core.errors import InputError, nearest
from palate.core.plugins import plugins
from palate.core.progress import track
from palate.core.runs import read_config
from palate.prefer.indexing import indexed, is_whole
from palate.prefer.readers import argilla, hpdv2, labelstudio, pair_folder, pickapic
from palate.prefer.readers.splits import files_by_split, of_split
from palate.prefer.stage import PREFERENCES
from palate.records.columns import Rankings
from palate.records.parquet import iterate_sets, parquet_files, released, write_sets
from palate.records.ranked import RankedSet
from palate.records.read_columns import read_rankings
from palate.records.tally import Tally


def _own_sets(file: Path, tally: Tally) -> Iterator[RankedSet]:
    """The ranked sets of a Parquet file of Palate's own, whose images are where and what they were."""
    is_whole(file)
    return iterate_sets(file, tally)


READERS = {
    "hpdv2": hpdv2,
    "pickapic": pickapic,
    "pair-folder": pair_folder,
    "label-studio": labelstudio,
    "argilla": argilla,
}
"""The readers of published formats, in the order in which detection tries them."""
FORMATS: dict[str, Callable[[Path, Tally], Iterator[RankedSet]]] = {
    **{name: reader.read for name, reader in READERS.items()},
    "palate": _own_sets,
}
PARQUET = ("pickapic", "palate")
"""Formats of which each Parquet file can be read on its own."""
IN_SPLITS = ("hpdv2", "argilla")
"""Other formats with splits."""

HINT = "`palate prefer import --skip-bad` leaves such rows out and counts them (--in-place copies no image)"

EXPORT = "collect export"
"""The stage that writes the votes of a study, in one of several formats."""


def load_rankings(source: str | Path, cache: Path | None = None) -> Rankings:
    """All ranked sets of a source in columns; each image was decoded as a check, now or when it was written.

    Args:
        source: as for `load_preferences`.
        cache: the cache folder for the index of a source without the facts of its images.

    Raises:
        InputError: as for `load_preferences`.
    """
    path = locate(source)
    kind = detect(path)
    parts = parts_of(path, Tally()) if kind in PARQUET else [path]
    rankings = read_rankings([_with_facts(part, kind, cache) for part in parts])
    if not len(rankings):
        raise InputError(f"{source} has no ranked set; give a source with at least one comparison")
    return rankings


def load_preferences(source: str | Path, *, skip_bad: bool = False) -> list[RankedSet]:
    """All ranked sets of a source as records; each image was decoded as a check.

    Args:
        source: a built-in name (`tiny-preferences`), a run of `palate prefer`, Palate's own Parquet (a file or a
            folder), a run of `palate collect export`, HPDv2's folder, a folder of pairs, Pick-a-Pic's Parquet, or an
            export of Label Studio or Argilla.
        skip_bad: leave out bad rows instead of stopping.

    Raises:
        InputError: there is no such source, it has none of these formats, a row is bad, or there is no ranked set.
    """
    sets = [released(each) for each in iterate_preferences(source, Tally(skip_bad, hint=HINT))]
    if not sets:
        raise InputError(f"{source} has no ranked set; give a source with at least one comparison")
    return sets


def iterate_preferences(source: str | Path, tally: Tally) -> Iterator[RankedSet]:
    """Like `load_preferences`, one set at a time; what is left out is counted in `tally`."""
    path = locate(source)
    return iterate_format(detect(path), path, tally)


def iterate_format(kind: str, path: Path, tally: Tally, split: str | None = None) -> Iterator[RankedSet]:
    """The ranked sets of a file or folder.

    Args:
        kind: one of `FORMATS`.
        split: the split of a source with several; when left out, train or the only one.

    Raises:
        InputError: there is no such split, or the format has no splits.
    """
    if kind in PARQUET:
        for part in parts_of(path, tally, split):
            yield from FORMATS[kind](part, tally)
    elif kind in IN_SPLITS:
        yield from READERS[kind].read(path, tally, split)
    elif split is None:
        yield from FORMATS[kind](path, tally)
    else:
        raise InputError(f"{path} is in the format {kind}, which has no splits; leave split out")


def parts_of(path: Path, tally: Tally, split: str | None = None) -> list[Path]:
    """The Parquet files of a source; those of one split where it has several."""
    return of_split(files_by_split(path, ".parquet"), split, path, tally) or parquet_files(path)


def _with_facts(part: Path, kind: str, cache: Path | None) -> Path:
    """A Parquet file of ranked sets with the facts of their images: the part of the source itself, or its index."""
    if kind == "palate" and is_whole(part):
        return part

    def write(file: Path, about: Mapping[str, str]) -> None:
        sets = track(iterate_format(kind, part, Tally(hint=HINT)), f"index {part.name}")
        write_sets(sets, file, embed=False, about=about, empty=True)

    return indexed(part, kind, write, cache)


def built_in() -> list[str]:
    """The names of the preference sets of plug-ins."""
    return sorted(plugins().preferences)


def locate(source: str | Path) -> Path:
    """The file or folder that a source names.

    Raises:
        InputError: there is none.
    """
    if str(source) in built_in():
        return plugins().preferences[str(source)]
    path = Path(source).expanduser()
    if not path.exists():
        names = f"a built-in name ({', '.join(built_in())}), " if built_in() else ""
        fix = f"give {names}a run of `palate prefer`, a Parquet file or a data set's folder"
        siblings = [str(path.parent / each.name) for each in path.parent.glob("*")]
        raise InputError(f"no preferences at {str(source)!r}{nearest(str(source), [*built_in(), *siblings])}; {fix}")
    if path.is_dir() and (config := read_config(path)):
        if not (path / PREFERENCES).is_file():
            stage = config["stage"]
            if stage == EXPORT and (written := [path / name for name in READERS if (path / name).is_dir()]):
                return written[0]
            raise InputError(f"{path} is a run of `palate {stage}` without {PREFERENCES}; {_fix(stage, path)}")
        return path / PREFERENCES
    return path


def detect(path: Path) -> str:
    """The format of a file or folder, one of `FORMATS`.

    Raises:
        InputError: it has none of them.
    """
    for name, reader in READERS.items():
        if reader.matches(path):
            return name
    if path.suffix == ".parquet" or files_by_split(path, ".parquet"):
        return "palate"
    raise InputError(
        f"{path} has none of the formats that Palate reads: HPDv2 (test.json, train.json or annotations.jsonl), "
        "Pick-a-Pic or Palate's own Parquet, a folder of images with metadata.csv, .jsonl or .parquet, Label Studio's "
        "JSON export or Argilla's records; see docs/data.md"
    )


def _fix(stage: str, path: Path) -> str:
    if stage == "collect new":
        return f"export its votes with `palate collect export --study {path}`"
    if stage == EXPORT or stage.startswith("prefer"):
        return "run that command again to finish it"
    return "give a run of `palate prefer`"
