"""The systems that images come from: a model and its number of steps, or a folder of real images."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from palate.core.errors import InputError, RunFolderError
from palate.core.progress import note
from palate.core.runs import read_config
from palate.records.image_folder import ImageRecord, read_image_folder, table_of
from palate.records.tally import Tally


@dataclass(frozen=True)
class ImageSource:
    """A folder of images, and the name of the system that made all of them where one was given, else ""."""

    folder: Path
    system: str = ""

    def __str__(self) -> str:
        return f"{self.system}={self.folder}" if self.system else str(self.folder)


def image_source(text: str | Path) -> ImageSource:
    """The source that FOLDER or name=FOLDER denotes; a path, or the text of a folder that exists, has no name in it.

    Raises:
        InputError: the name or the folder is empty.
    """
    name, equals, folder = (part.strip() for part in str(text).partition("="))
    if not equals or Path(text).is_absolute() or Path(text).expanduser().is_dir():
        return ImageSource(Path(text).expanduser())
    if not name or not folder:
        raise InputError(f"images are FOLDER or name=FOLDER, such as real=photographs, not {str(text)!r}")
    return ImageSource(Path(folder).expanduser(), name)


def image_sources(images: Path | Sequence[str]) -> list[ImageSource]:
    """The sources that a field of a configuration names: one folder, or several texts for `image_source`."""
    return [image_source(each) for each in ([images] if isinstance(images, Path) else images)]


def as_field(images: Path | Sequence[str]) -> Path | tuple[str, ...]:
    """Such a field as a run folder stores it: one folder without a name, or texts with absolute paths.

    Raises:
        InputError: see `image_source`; or there is no folder.
    """
    sources = image_sources(images)
    if not sources:
        raise InputError("images must name at least one folder")
    if len(sources) == 1 and not sources[0].system:
        return sources[0].folder
    return tuple(str(replace(each, folder=Path(os.path.normpath(each.folder.absolute())))) for each in sources)


def system_name(model: str, steps: int | None) -> str:
    """The name of a model at a number of steps.

    >>> system_name("tiny-sd", 4)
    'tiny-sd@4 steps'
    """
    return model if steps is None else f"{model}@{steps} step{'s' * (steps != 1)}"


def with_system(record: ImageRecord, folder: str) -> ImageRecord:
    """The record with a system: that of its row, else its model and number of steps, else the name of its folder."""
    if record.system:
        return record
    steps = record.row.get("steps")
    known = system_name(record.model, steps if isinstance(steps, int) else None) if record.model else folder
    return replace(record, system=known)


def read_image_folders(
    sources: Sequence[ImageSource],
    tally: Tally | None = None,
    names: Sequence[str] = (),
    *,
    unprompted: bool = False,
) -> list[ImageRecord]:
    """The images of one folder or of several, see `read_image_folder`.

    Of several, the file names begin with the name of the folder. The images of several folders, those in a folder of
    runs of `palate generate`, and those of a folder with a given name have a system: the given name, else as
    `with_system` finds it.

    Args:
        sources: the folders.
        tally, unprompted: see `read_image_folder`.
        names: the names of several folders; those of `folder_names` when left out.

    Raises:
        InputError: see `read_image_folder` and `folder_names`.
    """
    if len(sources) == 1:
        return _read_source(sources[0], "", tally, unprompted)
    names = names or folder_names([each.folder for each in sources])
    found: list[ImageRecord] = []
    made: dict[str, list[str]] = {}
    for source, name in zip(sources, names, strict=True):
        records = _read_source(source, name, tally, unprompted)
        found += [replace(record, file_name=f"{name}/{record.file_name}") for record in records]
        for system in {record.system: True for record in records if not source.system}:
            made.setdefault(system, []).append(str(source.folder))
    note_joined(made)
    return found


def note_joined(made: Mapping[str, Sequence[str]]) -> None:
    """Prints the systems with images in several folders, which may be different settings of one model.

    Args:
        made: the folders with images of each system.
    """
    for system, folders in made.items():
        if len(folders) > 1:
            fix = "name=FOLDER tells them apart"
            note(f"the images of {' and '.join(folders)} count as those of one system, {system}; {fix}")


def _read_source(source: ImageSource, name: str, tally: Tally | None, unprompted: bool) -> list[ImageRecord]:
    """The images of a folder, with systems if it has a name or contains runs of `palate generate`."""
    records = read_image_folder(source.folder, tally, unprompted=unprompted)
    if source.system:
        return [replace(record, system=source.system) for record in records]
    if _has_runs(source.folder):  # the name of the sub-folder is that of its images
        return [with_system(record, record.file_name.split("/")[0]) for record in records]
    return [with_system(record, name) for record in records] if name else records


def _has_runs(folder: Path) -> bool:
    """Whether one of the direct sub-folders is a run of `palate generate`, and the folder itself has no images."""
    if table_of(folder) or _is_generated(folder):
        return False
    return any(_is_generated(each) for each in folder.iterdir() if each.is_dir())


def _is_generated(folder: Path) -> bool:
    try:
        return (read_config(folder) or {}).get("stage") == "generate"
    except RunFolderError:  # a config.yaml of something else
        return False


def folder_names(folders: Sequence[Path]) -> list[str]:
    """Different names for several folders: their paths below the folder that has all of them.

    Raises:
        InputError: a folder is given twice, or is in another one.
    """
    paths = [Path(os.path.normpath(folder.absolute())) for folder in folders]
    for one, path in enumerate(paths):
        for other in paths[:one] + paths[one + 1 :]:
            if path.is_relative_to(other):
                what = "is given twice" if path == other else f"is in {other}, which is given too"
                raise InputError(f"the folder {path} {what}, so its images would count twice; give each folder once")
    parent = os.path.commonpath(paths) if len(paths) > 1 else paths[0].parent
    return [Path(os.path.relpath(path, parent)).as_posix() for path in paths]
