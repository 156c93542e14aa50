"""`palate filter`: writes a folder with the images of another folder whose scores are high enough."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from palate.core.errors import InputError, nearest
from palate.core.progress import track
from palate.core.runs import RunFolder
from palate.core.seeds import derive
from palate.records import checked
from palate.records.image_folder import METADATA, SYSTEM, ImageRecord, link_images, read_image_folder, require_linkable
from palate.records.jsonlines import JsonLines
from palate.records.tally import Tally
from palate.score.load import refuse_judge
from palate.score.scored import read_scored, read_summaries, scored_digest, scored_sources

FREE = frozenset({"out"})
"""The only field that the result does not depend on."""
NO_SCORES = frozenset({"prompt_index", "image_index", "seed", "steps", "guidance"})
"""Numbers in the metadata of `palate generate` that are not scores."""


@dataclass(frozen=True, kw_only=True)
class FilterConfig:
    """The settings of `palate filter`; an image must pass all of the given conditions."""

    scores: Path | None = None
    """Run folder of `palate score`."""
    images: Path | None = None
    """Instead of scores: an ImageFolder whose metadata has the score of each image as a number, such as COYO's
    aesthetic_score_laion_v2."""
    column: str | None = None
    """One of the run's scorers, or a column of the metadata; required if there are several."""
    at_least: float | None = None
    """Lowest score that is kept, in the score's own units, such as 6.5 of LAION's aesthetic score."""
    at_most: float | None = None
    """Highest score that is kept."""
    top: float | None = None
    """Share of the images to keep, above 0 and up to 1: those with the best scores, which are the lowest ones if the
    scorer's lower scores are better. Among equal scores the choice is random, and the same in every run."""
    out: Path
    """Run folder; itself an ImageFolder."""
    skip_bad: bool = False
    """Leave out images that are missing, damaged or without a score and count them, instead of stopping."""

    def __post_init__(self) -> None:
        if (self.scores is None) == (self.images is None):
            raise ValueError("give either scores or images")
        if self.at_least is None and self.at_most is None and self.top is None:
            raise ValueError("give at_least, at_most or top; without a condition every image would be kept")
        if self.at_least is not None and self.at_most is not None and self.at_least > self.at_most:
            raise ValueError(f"at_least must not be above at_most, and {self.at_least} is above {self.at_most}")
        if self.top is not None and not 0 < self.top <= 1:
            raise ValueError(f"top must be a share above 0 and up to 1, not {self.top}")


@dataclass(frozen=True)
class _Column:
    """The scores of a folder's images under one name; `sign` is -1 where lower is better, else 1."""

    folders: Sequence[Path]
    name: str
    sign: int
    scores: Sequence[tuple[ImageRecord, float]]


def filter_images(config: FilterConfig) -> Path:
    """Links the images whose scores are high enough into a run folder, or copies them if they cannot be linked.

    `metadata.jsonl` has one line per kept image: its original metadata, and its score under the column's name. The file
    is written last, so a folder that has it is complete.

    Returns:
        The run folder.

    Raises:
        InputError: there are no such images, scores or column; an image is damaged or has no score; no image is kept;
            or the column belongs to a judge of results, which must give no training signal. Raised before anything is
            written.
        RunFolderError: the folder contains another run, or images or scores have changed since the run began.
    """
    tally = Tally(config.skip_bad)
    column = _of_run(config.scores, config.column, tally) if config.scores else _of_table(config, tally)
    kept = _kept(config, column)
    records, values = [record for record, _ in kept], [value for _, value in kept]
    for folder in column.folders:
        require_linkable(records, folder, config.out)
    digest = scored_digest((record, {column.name: value}) for record, value in column.scores)
    run = RunFolder.open(config.out, "filter", config, free=FREE, inputs={"images and scores": digest})
    if run.finished is None:
        with run.timer("filter"):
            link_images(track(records, "linking images"), run.path)
            JsonLines(run.path / METADATA).replace(_row(record) | {column.name: value} for record, value in kept)
        found = {"column": column.name, "images": len(column.scores), "kept": len(kept)}
        run.finish({**found, "lowest": min(values), "highest": max(values), **tally.summary()})
    return run.path


def _of_run(scores: Path, name: str | None, tally: Tally) -> _Column:
    summaries = read_summaries(scores)
    name = _chosen(name, summaries, f"{scores} has", "scorers")
    scored = read_scored(scores, [name], tally, unprompted=True)
    values = [(record, found[name]) for record, found in scored]
    return _Column(
        [each.folder for each in scored_sources(scores)], name, 1 if summaries[name].higher_is_better else -1, values
    )


def _of_table(config: FilterConfig, tally: Tally) -> _Column:
    assert config.images is not None  # the configuration requires one of both
    records = read_image_folder(config.images, tally, unprompted=True)
    rows = [record.row for record in records]
    texts = {"file_name", *(name for row in rows for name in checked.prompt_columns(row))}
    numeric = {name: True for row in rows for name, value in row.items() if name not in texts and _is_number(value)}
    columns = {name: True for name in numeric if name not in NO_SCORES or name == config.column}
    name = _chosen(config.column, columns, f"the metadata of {config.images} has", "columns of numbers")
    found = [(record, record.row.get(name)) for record in records]
    return _Column([config.images], name, 1, _numbers(found, name, tally))


def _numbers(found: Sequence[tuple[ImageRecord, Any]], name: str, tally: Tally) -> list[tuple[ImageRecord, float]]:
    """The images with their scores; an image without a score is a bad row."""
    scores = []
    for record, value in found:
        with tally.row(str(record.image)):
            if not _is_number(value):
                raise InputError(f"its {name!r} is {value!r}, not a number; score the folder again, or write a number")
            scores.append((record, checked.finite_number(value, name)))
    return scores


def _chosen(name: str | None, columns: Mapping[str, Any], where: str, what: str) -> str:
    """The requested column, or the only one if none is requested."""
    if name is None and len(columns) == 1:
        (name,) = columns
    if name is None or name not in columns:
        count = "several" if columns else "no"
        found = f"no {name!r} among its {what}{nearest(name, columns)}" if name else f"{count} {what}"
        fix = f"give column one of {', '.join(columns)}" if columns else "score the images with `palate score`"
        raise InputError(f"{where} {found}; {fix}")
    refuse_judge(name, "filter")
    return name


def _kept(config: FilterConfig, column: _Column) -> list[tuple[ImageRecord, float]]:
    """The images that pass and their scores, in the folder's order.

    Raises:
        InputError: no image passes.
    """

    def place(scored: tuple[ImageRecord, float]) -> tuple[float, int]:
        return -column.sign * scored[1], derive(0, "tie", scored[0].file_name)

    count = len(column.scores)
    if not count:
        raise InputError(f"{column.folders[0]} has no valid image with a score; repair its images or its metadata")
    last = sorted(map(place, column.scores))[max(1, round((config.top or 1) * count)) - 1]
    low = -math.inf if config.at_least is None else config.at_least
    high = math.inf if config.at_most is None else config.at_most
    kept = [scored for scored in column.scores if place(scored) <= last and low <= scored[1] <= high]
    if not kept:
        values = [value for _, value in column.scores]
        ends = f"{column.name} ranges from {min(values):g} to {max(values):g}"
        raise InputError(f"none of the {count} images is kept: {ends}; give other bounds")
    return kept


def _row(record: ImageRecord) -> dict[str, Any]:
    """An image's metadata, without numbers that are not finite, which JSON cannot represent."""
    prompt = {"prompt": record.prompt} if record.prompt else {}
    row = {name: value for name, value in record.row.items() if not isinstance(value, float) or math.isfinite(value)}
    system = {SYSTEM: record.system} if record.system else {}
    return {**row, "file_name": record.file_name, **prompt, **system}


def _is_number(value: Any) -> bool:
    """Whether a cell is a finite number, which in a CSV is a text."""
    try:
        checked.finite_number(value, "the score")
    except InputError:
        return False
    return True
