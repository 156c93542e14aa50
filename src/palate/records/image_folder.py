"""Folders of images with their prompts: Hugging Face's ImageFolder, a table `metadata.*` of rows with a `file_name`.

A folder may contain such folders (the shards of one run); they are read together. In a folder without a table, the
prompt of `x.png` may be in a text file `x.txt` or `x.caption` in the same folder, as trainers of LoRA read it.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from palate.core.errors import InputError, RunFolderError
from palate.core.files import require_folder, write_atomic
from palate.core.progress import note, track
from palate.core.runs import read_config
from palate.records import checked
from palate.records.images import StoredImage
from palate.records.jsonlines import JsonLines
from palate.records.table_files import read_table, read_text
from palate.records.tally import Tally

METADATA = "metadata.jsonl"
"""The table that Palate writes."""
TABLES = (METADATA, "metadata.csv", "metadata.parquet")
"""The tables that are read."""
BLOCKED = "blocked"
"""The column with the reason why an image is not what the model drew, one of the two below; empty otherwise."""
SYSTEM = "system"
"""The column with the name of the system (a model and its number of steps) that made an image."""
SAFETY_CHECKER, BLACK = "safety checker", "black"
"""The pipeline's safety checker replaced the image by a black one; or every pixel is black without that."""
REASONS = (SAFETY_CHECKER, BLACK)
IMAGE_ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")
"""The endings of image files in a folder without a table, in lower case."""
CAPTIONS = (".txt", ".caption")


@dataclass(frozen=True)
class MetadataRow:
    """One row of a folder's tables, or one image file of a folder without any.

    Args:
        name: the name of the row in errors.
        folder: the folder that its file names are relative to.
        values: the values by column name.
    """

    name: str
    folder: Path
    values: dict[str, Any]


@dataclass(frozen=True)
class ImageRecord:
    """One image of a folder.

    Args:
        file_name: relative to the folder that was read.
        image: the image file.
        prompt: the prompt of the image; "" only where a reader takes images without one.
        prompt_index: the index of the prompt in the run; images are grouped by prompt, whatever their index is.
        image_index: the index among the prompt's images; the same index has the same seed in every model's run.
        seed: the seed of its noise; None where the folder does not say it.
        model: the model's name as it was given, or "".
        system: the name of the system that made the image, such as `tiny-sd@4 steps`, or "".
        row: the whole row of the folder's metadata.
    """

    file_name: str
    image: StoredImage
    prompt: str
    prompt_index: int
    image_index: int
    seed: int | None = None
    model: str = ""
    system: str = ""
    row: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)


def read_image_folder(folder: Path | str, tally: Tally | None = None, *, unprompted: bool = False) -> list[ImageRecord]:
    """The images that a folder's metadata lists, each decoded once as a check; ordered by prompt, then by image.

    Args:
        folder: a run of `palate generate`, any ImageFolder whose metadata has a `prompt`, `caption` or `text` in each
            row, or image files with text files of the same names.
        tally: whether bad rows are refused (the default) or left out and counted. Images that are not what the model
            drew (`BLOCKED`) are always left out and counted.
        unprompted: take images without a prompt too, and every image file of a folder that has no table at all.

    Raises:
        InputError: no such folder, no metadata, a bad row, or an image that is missing or broken; the message names it.
    """
    folder, tally = require_folder(folder, "image folder"), tally or Tally(hint="")
    table = metadata_rows(folder, tally)
    rows = table or _files(folder, tally)
    if not rows and not tally.bad:
        fix = "a folder with one, or of image files alone" if unprompted else "a run of `palate generate`"
        raise InputError(f"{folder} lists no image: it has no {_one_of(TABLES)} with rows; give {fix}")
    if not table and not unprompted and not any("prompt" in row.values for row in rows):
        fix = "write a prompt for each image, or use `palate caption`"
        raise InputError(f"{folder} has images and no prompts: neither {METADATA} nor a text file of any image; {fix}")
    records: list[ImageRecord] = []
    prompts: dict[str, int] = {}
    seen: Counter[str] = Counter()
    blocked: Counter[str] = Counter()
    for row in track(rows, "checking images"):
        if (reason := row.values.get(BLOCKED)) in REASONS:
            blocked[reason] += 1
            tally.drop(f"{BLOCKED} ({reason})")
            continue
        with tally.row(f"{row.name}, image {row.values.get('file_name')!r}"):
            prompt = checked.optional_prompt(row.values)
            if not prompt and not unprompted:
                prompt = checked.prompt_in(row.values, "write one, or use `palate caption`")
            index = prompts.setdefault(prompt, len(prompts))
            record = _record(folder, row, prompt, index, seen[prompt])
            seen[prompt] += 1
            record.image.open()
            records.append(record)
    if blocked:
        reasons = " and ".join(f"{count} ({reason})" for reason, count in blocked.items())
        if blocked.total() == len(rows):
            raise InputError(f"no image of {folder} is what the model drew: {reasons} are {BLOCKED}")
        count = f"{blocked.total()} of {len(rows)} images of {folder}"
        note(f"{count} are not what the model drew and are left out: {reasons}")
    if not records:
        raise InputError(f"{folder} has no undamaged image, but {len(tally.bad)} bad rows; the first: {tally.bad[0]}")
    return sorted(records, key=lambda record: (record.prompt_index, record.image_index))


def by_prompt(records: Iterable[ImageRecord]) -> list[list[ImageRecord]]:
    """The records of each prompt together, in order."""
    groups: dict[str, list[ImageRecord]] = {}
    for record in records:
        groups.setdefault(record.prompt, []).append(record)
    return list(groups.values())


def metadata_rows(
    folder: Path, tally: Tally | None = None, needed: Mapping[str, checked.Check] = MappingProxyType({})
) -> list[MetadataRow]:
    """Every row of every table in a folder; none where there is no table.

    Args:
        tally: whether damaged rows are refused (the default) or left out and counted. In a run that was killed or that
            still goes on, the last line may be incomplete; it is ignored.
        needed: the checks of each row of a run of Palate, as for `JsonLines.read`.

    Raises:
        InputError: a table is damaged, one folder has two, or a row of a run fails a check.
    """
    files = sorted(file for name in TABLES for file in folder.rglob(name) if file.is_file())
    return [row for file in files for row in _rows_of(file, tally or Tally(hint=""), needed)]


def table_of(folder: Path, names: Iterable[str] = TABLES) -> Path | None:
    """The table in a folder itself, not in folders below it; None where there is none.

    Raises:
        InputError: there are two.
    """
    found = [folder / name for name in names if (folder / name).is_file()]
    if len(found) > 1:
        raise InputError(f"{folder} has both {found[0].name} and {found[1].name}; keep one of them there")
    return found[0] if found else None


def require_linkable(records: Iterable[ImageRecord], images: Path, out: Path) -> None:
    """Raises InputError where the folder that `link_images` writes to would be read as a part of the source.

    Args:
        records: the images to link.
        images: the folder that they were read from.
        out: the folder that they are to be linked into.
    """
    if out.resolve().is_relative_to(images.resolve()):
        raise InputError(f"the run folder {out} is in {images} and would be read as a part of it; name one outside")


def link_images(records: Iterable[ImageRecord], out: Path) -> None:
    """Puts each image into another folder under the same file name: as a hard link, or as a copy where that fails.

    An image that is already there is kept, so that an interrupted run can go on.

    Raises:
        PalateError: the disk is full, the folder may not be written to, and the like.
    """
    for record in records:
        source, target = record.image.path, out / record.file_name
        if source is None or target.exists():
            continue
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            os.link(source.resolve(), target)
        except OSError:  # another disk, a file system without links, somebody else's file
            write_atomic(target, record.image.read())


def _rows_of(file: Path, tally: Tally, needed: Mapping[str, checked.Check]) -> list[MetadataRow]:
    table_of(file.parent)
    if file.name == METADATA and any(_is_run(each) for each in (file.parent, file.parent.parent)):
        rows = [(f"line {number} of {file}", row) for number, row in enumerate(JsonLines(file).read(needed), 1)]
    else:
        rows = read_table(file, "metadata", tally)
    return [MetadataRow(name, file.parent, row) for name, row in rows]


def _is_run(folder: Path) -> bool:
    """Whether a folder is one of Palate's runs, whose tables grow line by line."""
    try:
        return read_config(folder) is not None
    except RunFolderError:  # a config.yaml of something else
        return False


def _files(folder: Path, tally: Tally) -> list[MetadataRow]:
    """A row for each image file that is not hidden; none where the folder has a table or is a run folder.

    Its prompt is the text of its caption file, where there is one.
    """
    if any(file.is_file() for name in TABLES for file in folder.rglob(name)) or _is_run(folder):
        return []
    files = [path for path in sorted(folder.rglob("*")) if path.suffix.lower() in IMAGE_ENDINGS and path.is_file()]
    rows = []
    for path in files:
        if not any(part.startswith(".") for part in path.relative_to(folder).parts):
            with tally.row(str(path)):
                rows.append(MetadataRow(str(path), path.parent, {"file_name": path.name, **_caption(path)}))
    return rows


def _caption(image: Path) -> dict[str, str]:
    """The text of an image's caption file, on one line, as its prompt."""
    files = [file for file in map(image.with_suffix, CAPTIONS) if file.is_file()]
    texts = {" ".join(read_text(file, "caption").split()) for file in files}
    if len(texts) > 1:
        raise InputError(f"its captions {files[0].name} and {files[1].name} differ; keep one of them")
    return {"prompt": texts.pop()} if texts else {}


def _record(folder: Path, row: MetadataRow, prompt: str, prompt_index: int, image_index: int) -> ImageRecord:
    """The record of one row; the two indices are used where the row has none."""
    values = _plain(row.values, "the row")
    path = checked.file_in(row.folder, values.get("file_name"), "the file_name")
    indices = {"prompt_index": prompt_index, "image_index": image_index}
    indices |= {name: checked.integer(values[name], f"the {name}", 0) for name in indices if name in values}
    seed = values.get("seed")
    return ImageRecord(
        file_name=Path(os.path.relpath(path, folder)).as_posix(),
        image=StoredImage(path=path),
        prompt=prompt,
        **indices,
        seed=None if checked.missing(seed) else checked.integer(seed, "the seed"),
        model=checked.optional_name(values.get("model"), "the model"),
        system=checked.optional_name(values.get(SYSTEM), "the system"),
        row=values,
    )


def _plain(value: Any, what: str) -> Any:
    """A value as plain JSON: text that files cannot store is refused, and NaN becomes None."""
    if isinstance(value, str):
        return checked.storable_text(value, what)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {
            checked.storable_text(str(name), f"a name in {what}"): _plain(each, f"{what}'s {name}")
            for name, each in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [_plain(each, what) for each in value]
    return value if value is None or isinstance(value, (bool, int)) else str(value)


def _one_of(names: Iterable[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} or {last}"
