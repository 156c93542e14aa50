"""Images on disk with what made them: Hugging Face's ImageFolder, a `metadata.jsonl` of rows with a `file_name`.

A folder may hold such folders (the shards of one run); they are read as one. One without a table may have a caption
beside each image, `x.txt` of `x.png`, as trainers of LoRA read it.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from palate.core.errors import InputError
from palate.core.files import require_folder, write_atomic
from palate.core.progress import note, track
from palate.core.runs import read_config
from palate.records.images import StoredImage
from palate.records.jsonlines import JsonLines
from palate.records.tables import read_text
from palate.records.tally import Tally

METADATA = "metadata.jsonl"
BLOCKED = "blocked"
"""The column that says why an image is not what the model drew, one of the two below; empty where it is."""
SAFETY_CHECKER, BLACK = "safety checker", "black"
"""The pipeline's safety checker put a black picture in its place; every pixel is black without that."""
REASONS = (SAFETY_CHECKER, BLACK)
ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")
"""Of the images of a folder without a table, in lower case."""
Rows = list[tuple[Path, dict[str, Any]]]


@dataclass(frozen=True)
class ImageRecord:
    """One image of a folder.

    Args:
        file_name: relative to the folder that was read.
        image: where it lies.
        prompt: what it was made from; "" only where a reader takes images without one.
        prompt_index: which prompt of the run that was.
        image_index: which of the prompt's images this is; the same index has the same seed in every model's run.
        seed: of its noise; None where the folder does not say.
        model: the model's name as it was given, or "".
        row: all that the folder's metadata says of it.
    """

    file_name: str
    image: StoredImage
    prompt: str
    prompt_index: int
    image_index: int
    seed: int | None = None
    model: str = ""
    row: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)


def read_image_folder(folder: Path | str, tally: Tally | None = None, *, unprompted: bool = False) -> list[ImageRecord]:
    """The images that a folder's metadata lists, each decoded once to be sure of it; by prompt, then by image.

    Args:
        folder: a run of `palate generate`, any ImageFolder whose `metadata.jsonl` has a `prompt` in each row, or image
            files with a text of the same name beside each.
        tally: whether bad rows are refused (the default) or left out and counted. Images that are not what the model
            drew (`BLOCKED`) are always left out and counted.
        unprompted: take images without a prompt too, and every image file of a folder that has no table at all.

    Raises:
        InputError: no such folder, no metadata, a row without a prompt, or an image that is missing or broken.
    """
    folder, tally = require_folder(folder, "image folder"), tally or Tally()
    table = metadata_rows(folder)
    rows = table or _files(folder)
    if not rows:
        mend = "a folder with one, or of image files alone" if unprompted else "a run of `palate generate`"
        raise InputError(f"{folder} lists no image: it has no {METADATA} with rows; give {mend}")
    if not table and not unprompted and not any("prompt" in row for _, row in rows):
        mend = "write one for each, or have `palate caption` do it"
        raise InputError(f"{folder} has images and no prompts: neither {METADATA} nor a text beside any; {mend}")
    needed = ("file_name",) if unprompted else ("file_name", "prompt")
    records: list[ImageRecord] = []
    prompts: dict[str, int] = {}
    seen: Counter[str] = Counter()
    blocked: Counter[str] = Counter()
    for file, row in track(rows, "checking images"):
        if row.get(BLOCKED) in REASONS:
            blocked[row[BLOCKED]] += 1
            tally.drop(f"{BLOCKED} ({row[BLOCKED]})")
            continue
        with tally.row(f"{file}, image {row.get('file_name')!r}"):
            prompt = str(row.get("prompt") or "")
            index = prompts.setdefault(prompt, len(prompts))
            _require(needed, row)
            record = _record(folder, file, row, index, seen[prompt])
            seen[prompt] += 1
            record.image.open()
            records.append(record)
    if blocked:
        reasons = " and ".join(f"{count} ({reason})" for reason, count in blocked.items())
        if blocked.total() == len(rows):
            raise InputError(f"no image of {folder} is what the model drew: {reasons} are {BLOCKED}")
        note(f"{blocked.total()} of {len(rows)} images of {folder} are not what the model drew and left out: {reasons}")
    return sorted(records, key=lambda record: (record.prompt_index, record.image_index))


def by_prompt(records: Iterable[ImageRecord]) -> list[list[ImageRecord]]:
    """The records of each prompt together, in order."""
    groups: dict[tuple[int, str], list[ImageRecord]] = {}
    for record in records:
        groups.setdefault((record.prompt_index, record.prompt), []).append(record)
    return list(groups.values())


def metadata_rows(folder: Path) -> Rows:
    """Every row of every table in a folder, with the table that it stands in; none where there is no table.

    Raises:
        InputError: a line of one is no JSON object.
    """
    return [(file, row) for file in sorted(folder.rglob(METADATA)) for row in JsonLines(file).read()]


def require_linkable(records: Iterable[ImageRecord], images: Path, out: Path) -> None:
    """Raises InputError where `link_images` would have a folder read its own images twice, or write elsewhere.

    Args:
        records: what is to be linked.
        images: the folder that they were read from.
        out: the folder that is to hold them.
    """
    if out.resolve().is_relative_to(images.resolve()):
        raise InputError(f"the run folder {out} lies in {images}, and would be read as a part of it; name one outside")
    if outside := [record.file_name for record in records if record.file_name.startswith("../")]:
        raise InputError(f"the image {outside[0]} of {images} lies outside of it; move it in, and name it so")


def link_images(records: Iterable[ImageRecord], out: Path) -> None:
    """Puts each image into another folder under its own file name: a hard link, or a copy where there can be none.

    An image that is there already stays, so that a run that was interrupted goes on.

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


def _files(folder: Path) -> Rows:
    """A row for each image file that is not hidden, where no table of any format says more and no run is under way.

    Its prompt is the text beside it, where there is one.
    """
    if any(folder.rglob("metadata.*")) or read_config(folder):
        return []
    files = [path for path in sorted(folder.rglob("*")) if path.suffix.lower() in ENDINGS and path.is_file()]
    hidden = {path for path in files if any(part.startswith(".") for part in path.relative_to(folder).parts)}
    shown = [path for path in files if path not in hidden]
    return [(path, {"file_name": path.name, **_caption(path.with_suffix(".txt"))}) for path in shown]


def _caption(text: Path) -> dict[str, str]:
    return {"prompt": " ".join(read_text(text, "caption").split())} if text.is_file() else {}


def _require(names: Iterable[str], row: Mapping[str, Any]) -> None:
    for name in names:
        if not isinstance(row.get(name), str) or not row[name].strip():
            mend = "write one, or have `palate caption` do it" if name == "prompt" else "give each image one"
            raise InputError(f"the row has no {name!r} (it has {', '.join(row)}); {mend}")


def _record(folder: Path, file: Path, row: dict[str, Any], prompt_index: int, image_index: int) -> ImageRecord:
    """One row; the indices are for a row that has none of its own."""
    path = file.parent / row["file_name"]
    return ImageRecord(
        file_name=Path(os.path.relpath(path, folder)).as_posix(),
        image=StoredImage(path=path),
        prompt=str(row.get("prompt") or ""),
        prompt_index=row.get("prompt_index", prompt_index),
        image_index=row.get("image_index", image_index),
        seed=row.get("seed"),
        model=row.get("model") or "",
        row=row,
    )
