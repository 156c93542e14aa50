"""What `palate score` has written, read again: the scores of each image, and each scorer's statistics."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

from palate.core.errors import InputError
from palate.core.runs import RunFolder, read_config
from palate.core.values import shown
from palate.records import checked
from palate.records.image_folder import ImageRecord
from palate.records.jsonlines import JsonLines
from palate.records.systems import ImageSource, folder_names, image_sources, read_image_folders
from palate.records.tally import Tally

SCORES = "scores.jsonl"
MEANS = "mean by system"
"""The entry of the summary with the mean score of each system, by scorer."""
AGAIN = "score the folder again"
Key: TypeAlias = tuple[str, str]


@dataclass(frozen=True)
class Summary:
    """The statistics of one scorer's scores in a folder of images; `spread` is their standard deviation.

    `within_prompt` says that it compared the images of each prompt with each other, in this run alone.
    """

    higher_is_better: bool
    mean: float
    spread: float
    lowest: float
    highest: float
    images: int
    within_prompt: bool = False


def read_scored(
    run: Path, names: Collection[str], tally: Tally, images: Sequence[ImageSource] = (), *, unprompted: bool = False
) -> list[tuple[ImageRecord, dict[str, float]]]:
    """The images of a run of `palate score`, each with its scores, in the order of the folder.

    Args:
        run: a run of `palate score`.
        names: the names of some of the run's scorers.
        tally: counts bad rows: an image without one of these scores, or one that has changed since it was scored.
        images: the folders of the images, if they were moved since; names in them replace those of the run.
        unprompted: whether to include images without a prompt.

    Raises:
        InputError: there is no such run or there are no such images, or a row is bad.
    """
    scores, found = {key_of_row(row): row for row in read_scores(run)}, []
    before = scored_sources(run, exist=not images)
    called = folder_names([each.folder for each in before]) if len(before) > 1 else ()
    now = [replace(new, system=new.system or old.system) for old, new in zip(before, images or before, strict=True)]
    for record in read_image_folders(now, tally, called, unprompted=unprompted):
        with tally.row(str(record.image)):
            row = scores.get(key_of_row(record), {})
            if row.get("sha256", record.image.digest()) != record.image.digest():
                raise InputError(f"it changed since {run} scored it; score the folder again")
            if unknown := [name for name in names if not is_number(row.get(name))]:
                raise InputError(f"its {unknown[0]!r} is {row.get(unknown[0])!r} in {run}, not a number; {AGAIN}")
            found.append((record, {name: float(row[name]) for name in names}))
    return found


def scored_sources(run: Path, *, exist: bool = True) -> list[ImageSource]:
    """The folders of the images that a run of `palate score` has scored.

    Args:
        run: a run of `palate score`.
        exist: whether they must still exist.

    Raises:
        InputError: one does not exist any more.
    """
    named = (read_config(run) or {}).get("images", "")
    sources = image_sources(named if isinstance(named, list) else [str(named)])
    if exist and (lost := [each.folder for each in sources if not each.folder.is_dir()]):
        raise InputError(f"the images that {run} scored are not at '{lost[0]}' any more; move them back, or {AGAIN}")
    return sources


def scored_digest(scored: Iterable[tuple[ImageRecord, Mapping[str, float]]]) -> str:
    """A digest of images, their prompts and their scores, as an input of a run."""
    rows = [[record.file_name, record.prompt, record.image.digest(), dict(scores)] for record, scores in scored]
    return hashlib.blake2b(json.dumps(rows).encode(), digest_size=16).hexdigest()


def is_number(value: Any) -> bool:
    """Whether a value of a table is a finite number."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def read_scores(run: Path, names: Iterable[str] = ()) -> list[dict[str, Any]]:
    """The rows of a run of `palate score`.

    Args:
        run: a run of `palate score`.
        names: names of scorers; each row must have a score of each.

    Raises:
        InputError: there are no scores, or a row lacks a required value.
    """
    rows = JsonLines(Path(run) / SCORES).read(needed_in_row(names))
    if not rows:
        raise InputError(f"{run} has no scores: it lacks {SCORES} with rows; give a run of `palate score`")
    return rows


def read_summaries(run: Path) -> dict[str, Summary]:
    """The summary of each scorer of a finished run of `palate score`.

    Raises:
        InputError: the run is not finished, it is not a run of `palate score`, or a summary lacks a required value.
    """
    scores = (RunFolder(Path(run)).finished or {}).get("scores")
    if not isinstance(scores, Mapping):
        raise InputError(f"{run} is not a finished run of `palate score`; run that command, or run it to its end")
    tally = Tally(hint=AGAIN)
    found: dict[str, Summary] = {}
    for name, values in scores.items():
        with tally.row(f"summary.json of {run}, scorer {name!r}"):
            values = values if isinstance(values, Mapping) else {}
            cells = checked.cells(values, IN_SUMMARY)
            within = _truth(values.get("within_prompt", False), "the within_prompt")
            found[name] = Summary(**{key: cells[key] for key in IN_SUMMARY}, within_prompt=within)
    return found


def needed_in_row(names: Iterable[str]) -> dict[str, checked.Check]:
    """The checks of a row of `scores.jsonl`, including the scores of some scorers."""
    return {"file_name": checked.text, "prompt": _prompt, **dict.fromkeys(names, checked.finite_number)}


def _prompt(value: Any, what: str) -> str:
    """Checks a prompt, which is empty for an image without one."""
    return value if value == "" else checked.text(value, what)


def _truth(value: Any, what: str) -> bool:
    if isinstance(value, bool):
        return value
    raise InputError(f"{what} is {shown(value)}, neither true nor false")


IN_SUMMARY: dict[str, checked.Check] = {
    "higher_is_better": _truth,
    **dict.fromkeys(("mean", "spread", "lowest", "highest"), checked.finite_number),
    "images": checked.integer,
}
"""The values of a scorer's summary."""


def key_of_row(of: ImageRecord | Mapping[str, Any]) -> Key:
    """The key of an image: its file and its prompt, as a table may name an image twice with different prompts."""
    return (of.file_name, of.prompt) if isinstance(of, ImageRecord) else (of["file_name"], of["prompt"])
