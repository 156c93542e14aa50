"""`palate caption`: writes a run folder with every image of another folder and a caption for each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from palate.core.errors import InputError
from palate.core.progress import bar
from palate.core.runs import RunFolder
from palate.records import checked
from palate.records.image_folder import (
    METADATA,
    ImageRecord,
    link_images,
    read_image_folder,
    require_linkable,
)
from palate.records.jsonlines import JsonLines
from palate.records.tally import Tally

if TYPE_CHECKING:
    from palate.caption.captioner import Captioner

FREE = frozenset({"out", "batch", "device", "skip_bad"})
"""Fields that may change between the parts of one run: no caption depends on them, up to float rounding."""


@dataclass(frozen=True, kw_only=True)
class CaptionConfig:
    """The settings of `palate caption`."""

    images: Path
    """Any folder of images, with or without metadata.jsonl."""
    captioner: str
    """Captioner: a folder or hub id of an image-text-to-text model of transformers, such as llava-hf/llava-1.5-7b-hf,
    or teacher, which reads only the 64 x 64 images of the tiny world."""
    question: str = "Describe this image in one sentence."
    """Question to the model about each image; teacher needs no question."""
    max_new_tokens: int = 64
    """Largest length of a caption in the model's tokens; CLIP's text encoders read 77 of their own tokens."""
    out: Path
    """Run folder, itself an ImageFolder; an interrupted run continues where it stopped."""
    skip_bad: bool = False
    """Leave out images that are damaged or get no caption, and count them, instead of stopping."""
    batch: int = 8
    """Images captioned at once; changes memory and speed, not the captions."""
    device: str | None = None
    """Such as cpu or cuda; the best one there is when left out."""

    def __post_init__(self) -> None:
        positive = {"max_new_tokens": self.max_new_tokens, "batch": self.batch}
        if wrong := [f"{name} must be above zero, not {n}" for name, n in positive.items() if n <= 0]:
            raise ValueError("; ".join(wrong))


def caption(config: CaptionConfig) -> Path:
    """Captions each image that has no caption in the run folder yet, and each image that has changed since.

    `metadata.jsonl` has one line per image: `file_name`, `prompt` (the caption), `sha256` of the image's file and, if
    the image had a prompt, `caption_of`. An image is in the folder before its line is, as a hard link if possible,
    otherwise as a copy. Images that a model's safety checker has blanked get no caption.

    Returns:
        The run folder; `captioned again` in its summary is the number of images that had changed.

    Raises:
        InputError: there are no such images or no such captioner, or an image is damaged (raised before anything is
            written); or an image gets no caption.
        RunFolderError: the folder contains another run, or the captioner has changed since the run began.
    """
    from palate.caption.captioner import load_captioner

    tally = Tally(config.skip_bad)
    captioner = load_captioner(config.captioner, config.question, config.max_new_tokens, config.device)
    records = read_image_folder(config.images, tally, unprompted=True)
    records = list({record.file_name: record for record in records}.values())  # a table may name an image twice
    require_linkable(records, config.images, config.out)
    inputs = {"captioner": captioner.fingerprint()}
    run = RunFolder.open(config.out, "caption", config, free=FREE, inputs=inputs)
    try:
        with run.timer("caption"):
            done, again = _keep_current(run, records)
            captions = _caption(records, done, captioner, run.path, config.batch, tally)
    except InputError:
        if not (run.path / METADATA).exists():
            run.abandon()
        raise
    changed = {"captioned again": again} if again else {}
    run.finish({"images": len(records), "captions": captions, **changed, **tally.summary()})
    return run.path


def _keep_current(run: RunFolder, records: Sequence[ImageRecord]) -> tuple[set[str], int]:
    """Removes the lines and images whose original is gone or has changed.

    Returns:
        The names of the images whose caption is kept, and the number of changed images.
    """
    current, table = {record.file_name: record for record in records}, JsonLines(run.path / METADATA)
    kept, lost = [], []
    for row in table.read({"file_name": _inside}):
        record = current.get(row["file_name"])
        (kept if record and row.get("sha256") == record.image.digest() else lost).append(row)
    if lost:
        run.reopen()
        table.replace(kept)
        for row in lost:
            (run.path / row["file_name"]).unlink(missing_ok=True)
    return {row["file_name"] for row in kept}, sum(row["file_name"] in current for row in lost)


def _inside(value: Any, what: str) -> str:
    """The name of a file of the run folder, as a line of the metadata has it; such files may be deleted."""
    return checked.file_in(Path(), value, what).as_posix()


def _caption(
    records: Sequence[ImageRecord], done: set[str], captioner: Captioner, out: Path, batch: int, tally: Tally
) -> int:
    """Captions the images that are not done, batch by batch; returns the number of lines at the end."""
    table = JsonLines(out / METADATA)
    link_images([record for record in records if record.file_name in done], out)  # those that were lost since
    left = [record for record in records if record.file_name not in done]
    with bar("captioning", len(records), done=len(records) - len(left)) as progress:
        for start in range(0, len(left), batch):
            shown = left[start : start + batch]
            if captioned := _captioned(shown, captioner, tally):
                link_images([record for record, _ in captioned], out)
                table.append(_row(record, text) for record, text in captioned)
            progress.advance(len(shown))
    if not (count := len(table.read())):
        raise InputError(f"none of the {len(records)} images has a caption: {captioner.no_caption_reason}")
    return count


def _captioned(shown: Sequence[ImageRecord], captioner: Captioner, tally: Tally) -> list[tuple[ImageRecord, str]]:
    """The images and their captions; an image without a caption is a bad row."""
    captioned = []
    for record, text in zip(shown, captioner([record.image.open() for record in shown]), strict=True):
        with tally.row(str(record.image)):
            if not text:
                raise InputError(f"it has no caption: {captioner.no_caption_reason}")
            captioned.append((record, text))
    return captioned


def _row(record: ImageRecord, text: str) -> dict[str, Any]:
    before = {"caption_of": record.prompt} if record.prompt else {}
    return {"file_name": record.file_name, "prompt": text, "sha256": record.image.digest(), **before}
