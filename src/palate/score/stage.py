"""`palate score`: writes a run folder with the scores of every image of another folder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, pstdev
from typing import TYPE_CHECKING, Any

from palate.core.progress import bar
from palate.core.runs import RunFolder
from palate.records.image_folder import SYSTEM, ImageRecord
from palate.records.jsonlines import JsonLines
from palate.records.systems import as_field, image_sources, read_image_folders
from palate.records.tally import Tally
from palate.score.columns import ScoreColumns, note_images_alone, rows_of_whole_prompts
from palate.score.scored import MEANS, SCORES, Key, Summary, key_of_row, needed_in_row, read_scores
from palate.score.within_prompt import compares_images

if TYPE_CHECKING:
    from palate.score.base import Scorer

FREE = frozenset({"out", "batch", "device", "cache"})
"""Fields that may change between the parts of one run: no score depends on them, up to float rounding."""


@dataclass(frozen=True, kw_only=True)
class ScoreConfig:
    """The settings of `palate score`."""

    images: Path | tuple[str, ...]
    """Run folder of `palate generate`, or any ImageFolder whose metadata.jsonl has a prompt in each row; any folder of
    images for scorers that read no prompt, such as image:<measure>. Several are scored into one run, as
    systems, which name=FOLDER names."""
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
    cache: bool = True
    """Keep each score in the cache folder, $PALATE_CACHE or ~/.cache/palate, and score no image again that the same
    scorer has scored in any folder; `palate cache` lists and deletes."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "images", as_field(self.images))  # a flag with one value and a file's are the same
        if not self.scorer:
            raise ValueError("scorer must name at least one, such as clip:<model>")
        if self.batch <= 0:
            raise ValueError(f"batch must be above zero, not {self.batch}")


def score(config: ScoreConfig) -> Path:
    """Scores each image that has no scores in the run folder yet, and each image that has changed since.

    `scores.jsonl` has one line per image: `file_name`, `prompt`, `prompt_index`, `image_index`, `sha256` of the image's
    file and a number under each scorer's name; and `system`, where several folders are scored or the folder says it.
    Images that a model's safety checker has blanked have no line.

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
    records = read_image_folders(image_sources(config.images), tally, unprompted=unprompted)
    run = RunFolder.open(config.out, "score", config, free=FREE, inputs=fingerprints(scorers))
    cut = note_prompts_cut_off(scorers, (record.prompt for record in records))
    single = note_images_alone(scorers, (record.prompt for record in records))
    columns, table = ScoreColumns(scorers, config.batch, cache=config.cache), JsonLines(run.path / SCORES)
    kept, again = _keep_current(run, table, scorers, records)
    left = [record for record in records if key_of_row(record) not in kept]
    with run.timer("score"), bar("scoring", len(records), done=len(records) - len(left)) as progress:
        for batch in columns.batches(left):
            table.append(_rows(columns(batch), batch, tally))
            progress.advance(len(batch))
    rows = read_scores(run.path, [scorer.name for scorer in scorers])
    summaries = {scorer.name: asdict(_summary(scorer, rows)) for scorer in scorers}
    changed = {**({"scored again": again} if again else {}), **single, **columns.counts()}
    repeated = {scorer.name: getattr(scorer, "repeated", 0) for scorer in scorers}
    changed |= {f"requests repeated by {name}": count for name, count in repeated.items() if count}
    found = {"images": len(rows), **changed, **tally.summary(), **cut, "scores": summaries}
    run.finish({**found, **_means(records, rows, summaries)})
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


def _summary(scorer: Scorer, rows: Sequence[dict[str, Any]]) -> Summary:
    values = [row[scorer.name] for row in rows]
    found = fmean(values), pstdev(values), min(values), max(values)
    return Summary(scorer.higher_is_better, *found, len(values), within_prompt=compares_images(scorer))


def _means(
    records: Sequence[ImageRecord], rows: Sequence[Mapping[str, Any]], names: Iterable[str]
) -> dict[str, Mapping[str, Mapping[str, float]]]:
    """The mean score of each system by each scorer, as an entry of the summary; empty where images have no system."""
    system_of = {key_of_row(record): record.system for record in records if record.system}
    made: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        if system := system_of.get(key_of_row(row)):
            made.setdefault(system, []).append(row)
    means = {name: {system: fmean(row[name] for row in of) for system, of in made.items()} for name in names}
    return {MEANS: means} if made else {}


def _keep_current(
    run: RunFolder, table: JsonLines, scorers: Sequence[Scorer], records: Sequence[ImageRecord]
) -> tuple[set[Key], int]:
    """Removes the rows whose image is gone or has changed; every row must have a score of each scorer.

    If a scorer compares the images of a prompt, all rows of a prompt with such an image are removed, or of one that is
    not complete.

    Returns:
        The keys of the rows that are kept, and the number of changed images.
    """
    current = {key_of_row(record): record for record in records}
    before = table.read(needed_in_row(scorer.name for scorer in scorers))
    rows, changed = [], 0
    for row in before:
        if record := current.get(key_of_row(row)):
            if row.get("sha256") == record.image.digest():
                rows.append({**row, **_about(record)})
            else:
                changed += 1
    if any(map(compares_images, scorers)):
        rows = rows_of_whole_prompts(rows, before, [record.prompt for record in records])
    if rows != before:
        run.reopen()
        table.replace(rows)
    return {key_of_row(row) for row in rows}, changed


def _rows(columns: Mapping[str, Sequence[float]], batch: Sequence[ImageRecord], tally: Tally) -> list[dict[str, Any]]:
    """One row per image; an image with a score that is not finite is a bad row."""
    from palate.score.base import require_score

    rows = []
    for place, record in enumerate(batch):
        with tally.row(str(record.image)):
            found = {name: values[place] for name, values in columns.items()}
            for name, value in found.items():
                require_score(name, value, record.image)
            rows.append({**_about(record), "sha256": record.image.digest(), **found})
    return rows


def _about(record: ImageRecord) -> dict[str, Any]:
    about = {key: getattr(record, key) for key in ("file_name", "prompt", "prompt_index", "image_index")}
    return {**about, **({SYSTEM: record.system} if record.system else {})}
