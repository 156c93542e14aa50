"""`palate prefer grade`: rankings or scores as graded images, from which `kto` and `reward_weighted` learn."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from palate.core.errors import InputError, nearest
from palate.core.progress import track
from palate.core.runs import RunFolder
from palate.prefer.grades import GRADES, write_graded
from palate.prefer.load import load_rankings
from palate.prefer.stage import FREE, digest_rows
from palate.records.columns import Grades
from palate.records.graded_image import GradedImage
from palate.records.image_columns import first_seen
from palate.records.tally import Tally
from palate.score.load import refuse_judge
from palate.score.scored import read_scored, read_summaries


@dataclass(frozen=True, kw_only=True)
class GradeConfig:
    """Where the grades come from: rankings, or scores."""

    out: Path
    """Run folder."""
    preferences: str | None = None
    """Rankings, as `palate align` takes them: rank 1 is a thumb up (1), the last rank a thumb down (0), and images
    between these are left out."""
    scores: Path | None = None
    """Run folder of `palate score`, instead of rankings."""
    column: str | None = None
    """Which of the run's scorers; needed where it has several."""
    low: float = 0.0
    """Score that becomes grade 0, like all scores below it."""
    high: float = 1.0
    """Score that becomes grade 1, like all scores above it; lower than low where lower scores are better."""
    threshold: float | None = None
    """Make thumbs: grades of this and more become 1, others 0."""
    skip_bad: bool = False
    """With scores: leave out images that are missing, broken, changed or without a score and count them, instead of
    stopping."""

    def __post_init__(self) -> None:
        if (self.preferences is None) == (self.scores is None):
            raise ValueError("give either preferences or scores")
        if self.low == self.high:
            raise ValueError(f"low and high must differ, not both be {self.low}")
        if self.threshold is not None and not 0 < self.threshold <= 1:
            raise ValueError(f"threshold is a grade above 0 and up to 1, not {self.threshold}")


def grade(config: GradeConfig) -> Path:
    """Writes graded images.

    Returns:
        The run folder; `grades.parquet` in it has `prompt`, `image` and `grade`.

    Raises:
        InputError: there are no such rankings or scores, nothing is ranked, an image is broken or has changed since it
            was scored, or the scores are of a judge of results, which never gives a training signal.
        RunFolderError: the folder contains another run, or images, rankings or scores changed since it began.
    """
    tally = Tally(config.skip_bad)
    graded = _of_rankings(config.preferences) if config.preferences else _of_scores(config, tally)
    rows = [[each.prompt, each.image.digest(), each.grade] for each in graded]
    run = RunFolder.open(config.out, "prefer grade", config, free=FREE, inputs={"graded images": digest_rows(rows)})
    if run.finished is None:
        with run.timer("grade"):
            count = write_graded(track(graded, "graded images", len(graded)), run.path / GRADES)
        best, worst = (int((graded.grade == end).sum()) for end in (1, 0))
        run.finish({"graded images": count, "of grade 1": best, "of grade 0": worst, **tally.summary()})
    return run.path


def _of_rankings(source: str) -> Grades:
    rankings = load_rankings(source)
    of_set = np.repeat(np.arange(len(rankings)), rankings.size)
    worst = np.maximum.reduceat(rankings.rank, rankings.start[:-1])[of_set]
    end = np.repeat(rankings.has_preference, rankings.size) & ((rankings.rank == 1) | (rankings.rank == worst))
    if not end.any():
        raise InputError(f"{source} ranks no image above another, so no image can be graded; rank some of them")
    prompt, image = rankings.prompt[of_set][end].astype(int), rankings.image[end]
    best = rankings.rank[end] == 1
    _, first = first_seen((prompt * len(rankings.images) + image) * 2 + best)
    return Grades(rankings.prompts, prompt[first], rankings.images, image[first], best[first].astype(float))


def _of_scores(config: GradeConfig, tally: Tally) -> Grades:
    assert config.scores is not None  # the configuration has either
    column = _column(config.scores, config.column)
    graded, span = [], config.high - config.low
    for record, scores in read_scored(config.scores, [column], tally):
        value = min(max((scores[column] - config.low) / span, 0.0), 1.0)
        value = value if config.threshold is None else float(value >= config.threshold)
        graded.append(GradedImage(record.prompt, record.image, value))
    if not graded:
        raise InputError(f"{config.scores} has no image with a score; score the folder again")
    return Grades.of(graded)


def _column(scores: Path, name: str | None) -> str:
    summaries = read_summaries(scores)
    if name is None and len(summaries) == 1:
        (name,) = summaries
    if name is None or name not in summaries:
        said = f"no scores {name!r}{nearest(name, summaries)}" if name else "several scorers"
        raise InputError(f"{scores} has {said}; give column one of {', '.join(summaries)}")
    refuse_judge(name, "grade")
    return name
