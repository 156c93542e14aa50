"""The systems that images come from: a model and its number of steps, or a folder of real images."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from palate.core.errors import InputError
from palate.records.image_folder import ImageRecord, read_image_folder
from palate.records.tally import Tally


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
    folders: Path | Sequence[Path],
    tally: Tally | None = None,
    names: Sequence[str] = (),
    *,
    unprompted: bool = False,
) -> list[ImageRecord]:
    """The images of one folder or of several, see `read_image_folder`.

    Of several, the file names begin with the name of the folder, and every record has a system (`with_system`).

    Args:
        folders: one folder as `read_image_folder` takes it, or several.
        tally, unprompted: see `read_image_folder`.
        names: the names of several folders; those of `folder_names` when left out.

    Raises:
        InputError: see `read_image_folder` and `folder_names`.
    """
    if isinstance(folders, (str, Path)) or len(folders) == 1:
        single = folders if isinstance(folders, (str, Path)) else folders[0]
        return read_image_folder(single, tally, unprompted=unprompted)
    names = names or folder_names(folders)
    return [
        replace(with_system(record, name), file_name=f"{name}/{record.file_name}")
        for folder, name in zip(folders, names, strict=True)
        for record in read_image_folder(folder, tally, unprompted=unprompted)
    ]


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
