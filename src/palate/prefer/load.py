"""Loading preferences from any source: the format of a source is detected from its files, columns and keys."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from palate.core.errors import InputError, nearest
from palate.core.plugins import plugins
from palate.core.progress import track
from palate.core.runs import read_config
from palate.prefer.indexing import indexed, is_whole
from palate.prefer.readers import (
    argilla,
    hpdv2,
    hpdv3,
    imagereward,
    labelstudio,
    open_preferences,
    pair_folder,
    pickapic,
    richhf,
)
from palate.prefer.readers.reader import EVERYTHING, FormatReader, Selection
from palate.prefer.readers.splits import files_by_split, of_split
from palate.prefer.stage import PREFERENCES
from palate.records.columns import Rankings
from palate.records.parquet import iterate_sets, parquet_files, released, write_sets
from palate.records.ranked import RankedSet
from palate.records.read_columns import read_rankings
from palate.records.tally import Tally


def _is_own(path: Path) -> bool:
    """Whether there is a Parquet file; its columns are checked when it is read."""
    return path.suffix == ".parquet" or bool(files_by_split(path, ".parquet"))


def _own_sets(file: Path, tally: Tally, selection: Selection = EVERYTHING) -> Iterator[RankedSet]:
    """The ranked sets of a Parquet file of Palate's own, whose images are where and what they were."""
    is_whole(file)
    return iterate_sets(file, tally)


READERS: dict[str, FormatReader] = {
    "hpdv3": hpdv3.READER,
    "imagereward": imagereward.READER,
    "hpdv2": hpdv2.READER,
    "richhf": richhf.READER,
    "pickapic": pickapic.READER,
    "open-image-preferences": open_preferences.READER,
    "label-studio": labelstudio.READER,
    "argilla": argilla.READER,
    "pair-folder": pair_folder.READER,
}
"""The readers of published formats, in the order in which detection tries them."""
OWN = "palate"
FORMATS = {**READERS, OWN: FormatReader(_is_own, _own_sets, "Palate's own Parquet", splits=True, in_parts=True)}

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
    parts = parts_of(path, Tally()) if FORMATS[kind].in_parts else [path]
    rankings = read_rankings([_with_facts(part, kind, cache) for part in parts])
    if not len(rankings):
        raise InputError(f"{source} has no ranked set; give a source with at least one comparison")
    return rankings


def load_preferences(source: str | Path, *, skip_bad: bool = False) -> list[RankedSet]:
    """All ranked sets of a source as records; each image was decoded as a check.

    Args:
        source: a built-in name (`tiny-preferences`), a run of `palate prefer`, Palate's own Parquet (a file or a
            folder), a run of `palate collect export`, or a data set in one of the formats of `READERS`.
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


def iterate_format(kind: str, path: Path, tally: Tally, selection: Selection = EVERYTHING) -> Iterator[RankedSet]:
    """The ranked sets of a file or folder.

    Args:
        kind: one of `FORMATS`.
        path: the file or folder.
        tally: counts what is left out.
        selection: what to read of it.

    Raises:
        InputError: there is no such split, or the format has no splits or no confidences.
    """
    reader = FORMATS[kind]
    reader.require(selection, kind, path)
    for part in parts_of(path, tally, selection.split) if reader.in_parts else [path]:
        yield from reader.read(part, tally, selection)


def parts_of(path: Path, tally: Tally, split: str | None = None) -> list[Path]:
    """The Parquet files of a source; those of one split where it has several."""
    return of_split(files_by_split(path, ".parquet"), split, path, tally) or parquet_files(path)


def _with_facts(part: Path, kind: str, cache: Path | None) -> Path:
    """A Parquet file of ranked sets with the facts of their images: the part of the source itself, or its index."""
    if kind == OWN and is_whole(part):
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
    for name, reader in FORMATS.items():
        if reader.matches(path):
            return name
    tables = [file for file in sorted(path.glob("*.*")) if pair_folder.matches(file)] if path.is_dir() else []
    hint = f"name the table itself: {tables[0]}" if tables else "see docs/data.md"
    known = "; ".join(reader.what for reader in FORMATS.values())
    raise InputError(f"{path} has none of the formats that Palate reads: {known}; {hint}")


def _fix(stage: str, path: Path) -> str:
    if stage == "collect new":
        return f"export its votes with `palate collect export --study {path}`"
    if stage == EXPORT or stage.startswith("prefer"):
        return "run that command again to finish it"
    return "give a run of `palate prefer`"
