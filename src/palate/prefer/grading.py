"""`palate prefer grade`: rankings or scores as graded images, what `kto` and `reward_weighted` learn from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from palate.core.errors import InputError, nearest
from palate.core.progress import track
from palate.core.runs import RunFolder, read_config
from palate.prefer.grades import GRADES, write_graded
from palate.prefer.load import load_rankings
from palate.prefer.stage import FREE
from palate.records.columns import Grades
from palate.records.graded import GradedImage
from palate.records.image_columns import first_seen
from palate.records.image_folder import read_image_folder
from palate.records.tally import Tally
from palate.score.load import refuse_auditor
from palate.score.stage import read_scores, read_summaries


@dataclass(frozen=True, kw_only=True)
class GradeConfig:
    """Where the grades come from: rankings, or scores."""

    out: Path
    """Run folder."""
    preferences: str | None = None
    """Rankings, as `palate align` takes them: rank 1 is a thumb up (1), the last rank a thumb down (0), and what lies
    between is left out."""
    scores: Path | None = None
    """Run folder of `palate score`, instead of rankings."""
    column: str | None = None
    """Which of the run's scorers; needed where it has several."""
    low: float = 0.0
    """Score that is graded 0, as is all below it."""
    high: float = 1.0
    """Score that is graded 1, as is all above it; lower than low where lower scores are better."""
    threshold: float | None = None
    """Make thumbs: grades of this and more become 1, others 0."""

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
        InputError: no such rankings or scores, nothing ranked, a broken image, or the auditor's scores, which give no
            training signal.
        RunFolderError: the folder holds another run.
    """
    graded = _of_rankings(config.preferences) if config.preferences else _of_scores(config)
    run = RunFolder.open(config.out, "prefer grade", config, free=FREE)
    if run.finished is None:
        with run.timer("grade"):
            count = write_graded(track(graded, "graded images", len(graded)), run.path / GRADES)
        best, worst = (int((graded.grade == end).sum()) for end in (1, 0))
        run.finish({"graded images": count, "of grade 1": best, "of grade 0": worst})
    return run.path


def _of_rankings(source: str) -> Grades:
    rankings = load_rankings(source)
    of_set = np.repeat(np.arange(len(rankings)), rankings.size)
    worst = np.maximum.reduceat(rankings.rank, rankings.start[:-1])[of_set]
    end = np.repeat(rankings.told_apart, rankings.size) & ((rankings.rank == 1) | (rankings.rank == worst))
    if not end.any():
        raise InputError(f"{source} ranks no image above another, so there is no thumb to give")
    prompt, image = rankings.prompt[of_set][end].astype(int), rankings.image[end]
    best = rankings.rank[end] == 1
    _, first = first_seen((prompt * len(rankings.images) + image) * 2 + best)
    return Grades(rankings.prompts, prompt[first], rankings.images, image[first], best[first].astype(float))


def _of_scores(config: GradeConfig) -> Grades:
    assert config.scores is not None  # the configuration has either
    column = _column(config.scores, config.column)
    rows = {row["file_name"]: float(row[column]) for row in read_scores(config.scores)}
    folder = Path((read_config(config.scores) or {})["images"])
    records = [each for each in read_image_folder(folder, Tally()) if each.file_name in rows]
    span = config.high - config.low
    grades = [min(max((rows[each.file_name] - config.low) / span, 0.0), 1.0) for each in records]
    if config.threshold is not None:
        grades = [float(value >= config.threshold) for value in grades]
    return Grades.of(GradedImage(each.prompt, each.image, value) for each, value in zip(records, grades))


def _column(scores: Path, name: str | None) -> str:
    summaries = read_summaries(scores)
    if name is None and len(summaries) == 1:
        (name,) = summaries
    if name is None or name not in summaries:
        said = f"no scores {name!r}{nearest(name, summaries)}" if name else "several scorers"
        raise InputError(f"{scores} has {said}; give column one of {', '.join(summaries)}")
    refuse_auditor(name, "grade")
    return name
