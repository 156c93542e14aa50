"""`palate score`: writes a run folder with the scores of every image of another folder."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, pstdev
from typing import TYPE_CHECKING, Any, TypeAlias

from palate.core.errors import InputError
from palate.core.progress import bar
from palate.core.runs import RunFolder, read_config
from palate.core.values import shown
from palate.records import checked
from palate.records.image_folder import ImageRecord, read_image_folder
from palate.records.jsonlines import JsonLines
from palate.records.tally import Tally

if TYPE_CHECKING:
    from palate.score.base import Scorer

SCORES = "scores.jsonl"
AGAIN = "score the folder again"
Key: TypeAlias = tuple[str, str]
FREE = frozenset({"out", "batch", "device"})
"""Fields that may change between the parts of one run: no score depends on them, up to float rounding."""


@dataclass(frozen=True, kw_only=True)
class ScoreConfig:
    """The settings of `palate score`."""

    images: Path
    """Run folder of `palate generate`, or any ImageFolder whose metadata.jsonl has a prompt in each row; any folder of
    images for scorers that read no prompt, such as image:<measure>."""
    scorer: tuple[str, ...]
    """One scorer or more: pickscore, hpsv2, imagereward, aesthetic, clipscore, clip:<model>, image:<measure>,
    implicit:<run>, reward:<run>, python:<module>:<factory> and others; `palate scorers` lists them all."""
    out: Path
    """Run folder; an interrupted run continues where it stopped, and images that have changed are scored again."""
    skip_bad: bool = False
    """Leave out images that are missing, damaged or without a finite score and count them, instead of stopping."""
    batch: int = 64
    """Images scored at once; changes memory and speed, not the scores."""
    device: str | None = None
    """Such as cpu or cuda; the best one there is when left out."""

    def __post_init__(self) -> None:
        if not self.scorer:
            raise ValueError("scorer must name at least one, such as clip:<model>")
        if self.batch <= 0:
            raise ValueError(f"batch must be above zero, not {self.batch}")


@dataclass(frozen=True)
class Summary:
    """The statistics of one scorer's scores in a folder of images; `spread` is their standard deviation."""

    higher_is_better: bool
    mean: float
    spread: float
    lowest: float
    highest: float
    images: int


def score(config: ScoreConfig) -> Path:
    """Scores each image that has no scores in the run folder yet, and each image that has changed since.

    `scores.jsonl` has one line per image: `file_name`, `prompt`, `prompt_index`, `image_index`, `sha256` of the image's
    file and a number under each scorer's name. Images that a model's safety checker has blanked have no line.

    Returns:
        The run folder; `scored again` in its summary is the number of images that had changed.

    Raises:
        InputError: there are no such images or no such scorer, or an image is damaged (raised before anything is
            written); or a score is not finite.
        RunFolderError: the folder contains another run, or a scorer has changed since the run began.
    """
    from palate.score.base import note_prompts_cut_off
    from palate.score.load import fingerprints, load_scorer

    tally = Tally(config.skip_bad)
    scorers = [load_scorer(spec, config.device) for spec in dict.fromkeys(config.scorer)]
    unprompted = not any(scorer.reads_prompt for scorer in scorers)
    records = read_image_folder(config.images, tally, unprompted=unprompted)
    run = RunFolder.open(config.out, "score", config, free=FREE, inputs=fingerprints(scorers))
    cut = note_prompts_cut_off(scorers, (record.prompt for record in records))
    table = JsonLines(run.path / SCORES)
    kept, again = _keep_current(run, table, [scorer.name for scorer in scorers], records)
    left = [record for record in records if _key(record) not in kept]
    with run.timer("score"), bar("scoring", len(records), done=len(records) - len(left)) as progress:
        for start in range(0, len(left), config.batch):
            batch = left[start : start + config.batch]
            table.append(_rows(scorers, batch, tally))
            progress.advance(len(batch))
    rows = read_scores(run.path, [scorer.name for scorer in scorers])
    summaries = {scorer.name: asdict(_summary(scorer, rows)) for scorer in scorers}
    changed = {"scored again": again} if again else {}
    repeated = {scorer.name: getattr(scorer, "repeated", 0) for scorer in scorers}
    changed |= {f"requests repeated by {name}": count for name, count in repeated.items() if count}
    run.finish({"images": len(rows), **changed, **tally.summary(), **cut, "scores": summaries})
    return run.path


def scores_of(scorer: Scorer, records: Sequence[ImageRecord]) -> list[float]:
    """The scores of images [B].

    Raises:
        InputError: a score is not finite, or the scorer cannot read the images.
    """
    from palate.score.base import require_score, score_images

    scores = score_images(scorer, [record.image.open() for record in records], [record.prompt for record in records])
    for record, value in zip(records, scores, strict=True):
        require_score(scorer.name, value, record.image)
    return scores


def read_scored(
    run: Path, names: Collection[str], tally: Tally, images: Path | None = None, *, unprompted: bool = False
) -> list[tuple[ImageRecord, dict[str, float]]]:
    """The images of a run of `palate score`, each with its scores, in the order of the folder.

    Args:
        run: a run of `palate score`.
        names: the names of some of the run's scorers.
        tally: counts bad rows: an image without one of these scores, or one that has changed since it was scored.
        images: the folder of the images, if they were moved since.
        unprompted: whether to include images without a prompt.

    Raises:
        InputError: there is no such run or there are no such images, or a row is bad.
    """
    scores, folder = {_key(row): row for row in read_scores(run)}, images or scored_folder(run)
    found = []
    for record in read_image_folder(folder, tally, unprompted=unprompted):
        with tally.row(str(record.image)):
            row = scores.get(_key(record), {})
            if row.get("sha256", record.image.digest()) != record.image.digest():
                raise InputError(f"it changed since {run} scored it; score the folder again")
            if unknown := [name for name in names if not is_number(row.get(name))]:
                raise InputError(f"its {unknown[0]!r} is {row.get(unknown[0])!r} in {run}, not a number; {AGAIN}")
            found.append((record, {name: float(row[name]) for name in names}))
    return found


def scored_folder(run: Path) -> Path:
    """The folder of the images that a run of `palate score` has scored.

    Raises:
        InputError: it does not exist any more.
    """
    folder = Path(str((read_config(run) or {}).get("images", "")))
    if not folder.is_dir():
        raise InputError(f"the images that {run} scored are not at '{folder}' any more; move them back, or {AGAIN}")
    return folder


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
    rows = JsonLines(Path(run) / SCORES).read(_needed(names))
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
            cells = checked.cells(values if isinstance(values, Mapping) else {}, IN_SUMMARY)
            found[name] = Summary(**{key: cells[key] for key in IN_SUMMARY})
    return found


def _needed(names: Iterable[str]) -> dict[str, checked.Check]:
    """The required values of a row, including the scores of some scorers."""
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


def _summary(scorer: Scorer, rows: Sequence[dict[str, Any]]) -> Summary:
    values = [row[scorer.name] for row in rows]
    return Summary(scorer.higher_is_better, fmean(values), pstdev(values), min(values), max(values), len(values))


def _keep_current(
    run: RunFolder, table: JsonLines, names: Iterable[str], records: Sequence[ImageRecord]
) -> tuple[set[Key], int]:
    """Removes the rows whose image is gone or has changed; every row must have a score of each named scorer.

    Returns:
        The keys of the rows that are kept, and the number of changed images.
    """
    current, before = {_key(record): record for record in records}, table.read(_needed(names))
    rows, changed = [], 0
    for row in before:
        if record := current.get(_key(row)):
            if row.get("sha256") == record.image.digest():
                rows.append({**row, **_about(record)})
            else:
                changed += 1
    if rows != before:
        run.reopen()
        table.replace(rows)
    return {_key(row) for row in rows}, changed


def _rows(scorers: Sequence[Scorer], batch: Sequence[ImageRecord], tally: Tally) -> list[dict[str, Any]]:
    """One row per image; an image with a score that is not finite is a bad row."""
    from palate.score.base import require_score, score_images

    images, prompts = [record.image.open() for record in batch], [record.prompt for record in batch]
    columns = {scorer.name: score_images(scorer, images, prompts) for scorer in scorers}
    rows = []
    for place, record in enumerate(batch):
        with tally.row(str(record.image)):
            found = {name: values[place] for name, values in columns.items()}
            for name, value in found.items():
                require_score(name, value, record.image)
            rows.append({**_about(record), "sha256": record.image.digest(), **found})
    return rows


def _about(record: ImageRecord) -> dict[str, Any]:
    return {key: getattr(record, key) for key in ("file_name", "prompt", "prompt_index", "image_index")}


def _key(of: ImageRecord | Mapping[str, Any]) -> Key:
    """The key of an image: its file and its prompt, as a table may name an image twice with different prompts."""
    return (of.file_name, of.prompt) if isinstance(of, ImageRecord) else (of["file_name"], of["prompt"])
