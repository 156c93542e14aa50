"""Preferences from wherever they are: one function that knows every source by its looks."""

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

READERS = {
    "hpdv2": hpdv2,
    "pickapic": pickapic,
    "pair-folder": pair_folder,
    "label-studio": labelstudio,
    "argilla": argilla,
}
"""Of other people's formats, in the order in which a source is held against them."""
FORMATS: dict[str, Callable[[Path, Tally], Iterator[RankedSet]]] = {
    **{name: reader.read for name, reader in READERS.items()},
    "palate": iterate_sets,
}
PARQUET = ("pickapic", "palate")
"""Formats of Parquet files that can be read each on its own."""
IN_SPLITS = ("hpdv2", "argilla")
"""Other formats that know splits."""

HINT = "`palate prefer import --skip-bad` leaves such rows out and counts them (--in-place copies no image)"

EXPORT = "collect export"
"""The stage that writes votes of a study, in a format of its own choice."""


def load_rankings(source: str | Path, cache: Path | None = None) -> Rankings:
    """Every ranked set of a source in columns, each image decoded once to be sure of it: now, or when it was written.

    Args:
        source: as of `load_preferences`.
        cache: where the index of a source is kept that does not have the facts of its images.

    Raises:
        InputError: as of `load_preferences`.
    """
    path = locate(source)
    kind = detect(path)
    parts = parts_of(path, Tally()) if kind in PARQUET else [path]
    rankings = read_rankings([_with_facts(part, kind, cache) for part in parts])
    if not len(rankings):
        raise InputError(f"{source} has no ranked set; give a source with at least one comparison")
    return rankings


def load_preferences(source: str | Path, *, skip_bad: bool = False) -> list[RankedSet]:
    """Every ranked set of a source as records, each image decoded once to be sure of it.

    Args:
        source: a built-in name (`tiny-preferences`), a run of `palate prefer`, Palate's own Parquet (a file or a
            folder), a run of `palate collect export`, HPDv2's folder, a folder of pairs, Pick-a-Pic's Parquet, or an
            export of Label Studio or Argilla.
        skip_bad: leave out bad rows instead of stopping.

    Raises:
        InputError: no such source, none of these formats, a bad row, or no ranked set at all.
    """
    sets = [released(each) for each in iterate_preferences(source, Tally(skip_bad, hint=HINT))]
    if not sets:
        raise InputError(f"{source} has no ranked set; give a source with at least one comparison")
    return sets


def iterate_preferences(source: str | Path, tally: Tally) -> Iterator[RankedSet]:
    """As `load_preferences`, one at a time; what is left out is counted in `tally`."""
    path = locate(source)
    return iterate_format(detect(path), path, tally)


def iterate_format(kind: str, path: Path, tally: Tally, split: str | None = None) -> Iterator[RankedSet]:
    """The ranked sets of a file or folder.

    Args:
        kind: one of `FORMATS`.
        split: of a source with several; train, or the only one, when left out.

    Raises:
        InputError: no such split, or a format that has none.
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
    """The Parquet files of a source that are read, those of one split where it has several."""
    return of_split(files_by_split(path, ".parquet"), split, path, tally) or parquet_files(path)


def _with_facts(part: Path, kind: str, cache: Path | None) -> Path:
    """A Parquet file of ranked sets with the facts of their images: a part of a source itself, or its index."""
    if kind == "palate" and is_whole(part):
        return part

    def write(file: Path, about: Mapping[str, str]) -> None:
        sets = track(iterate_format(kind, part, Tally(hint=HINT)), f"index {part.name}")
        write_sets(sets, file, embed=False, about=about, empty=True)

    return indexed(part, kind, write, cache)


def built_in() -> list[str]:
    """Names of the preference sets that plug-ins bring."""
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
        mend = f"give {names}a run of `palate prefer`, a Parquet file or a data set's folder"
        beside = [str(path.parent / each.name) for each in path.parent.glob("*")]
        raise InputError(f"no preferences at {str(source)!r}{nearest(str(source), [*built_in(), *beside])}; {mend}")
    if path.is_dir() and (config := read_config(path)):
        if not (path / PREFERENCES).is_file():
            stage = config["stage"]
            if stage == EXPORT and (written := [path / name for name in READERS if (path / name).is_dir()]):
                return written[0]
            raise InputError(f"{path} is a run of `palate {stage}` without {PREFERENCES}; {_mend(stage, path)}")
        return path / PREFERENCES
    return path


def detect(path: Path) -> str:
    """Which of `FORMATS` a file or folder is in.

    Raises:
        InputError: none of them.
    """
    for name, reader in READERS.items():
        if reader.matches(path):
            return name
    if path.suffix == ".parquet" or files_by_split(path, ".parquet"):
        return "palate"
    raise InputError(
        f"{path} is in no format that Palate knows: HPDv2 (test.json, train.json or annotations.jsonl), Pick-a-Pic or "
        "Palate's own Parquet, a folder of images with metadata.csv, .jsonl or .parquet, Label Studio's JSON export or "
        "Argilla's records; see docs/data.md"
    )


def _mend(stage: str, path: Path) -> str:
    if stage == "collect new":
        return f"export its votes with `palate collect export --study {path}`"
    if stage == EXPORT or stage.startswith("prefer"):
        return "run that command again to finish it"
    return "give a run of `palate prefer`"
