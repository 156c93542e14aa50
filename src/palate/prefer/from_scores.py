"""`palate prefer from-scores`: AI feedback, the images of each prompt ranked by scorers instead of people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from palate.core.errors import InputError, nearest
from palate.core.runs import RunFolder, read_config
from palate.prefer.stage import FREE, comparable, ranked_by, write_preferences
from palate.records.image_folder import by_prompt, read_image_folder
from palate.records.ranked import RankedSet, Vote
from palate.records.tally import Tally
from palate.score.stage import read_scores, read_summaries

AUDITOR = "auditor:"


@dataclass(frozen=True, kw_only=True)
class FromScoresConfig:
    """Which scores rank which images."""

    scores: Path
    """Run folder of `palate score`."""
    out: Path
    """Run folder."""
    column: tuple[str, ...] = ()
    """Scorers that rank the images, each with one vote; all of the run's but the auditor's when left out."""
    margin: float = 0.0
    """Images of a prompt whose scores differ by no more than this are tied, in the scorer's own units."""
    images: Path | None = None
    """Where the scored images lie now, if they were moved."""
    skip_bad: bool = False
    """Leave out images that are missing or broken and count them, instead of stopping."""

    def __post_init__(self) -> None:
        if self.margin < 0:
            raise ValueError(f"margin must be zero or above, not {self.margin}")


def prefer_from_scores(config: FromScoresConfig) -> Path:
    """Ranks the images of each prompt by their scores.

    Returns:
        The run folder.

    Raises:
        InputError: no such scores, an unknown column, a broken image, or a column of the auditor, which judges results
            and so never gives a training signal.
        RunFolderError: the folder holds another run.
    """
    signs = _columns(config)
    stored = read_config(config.scores)
    tally = Tally(config.skip_bad)
    records = read_image_folder(config.images or Path((stored or {})["images"]), tally)
    rows = {row["file_name"]: row for row in read_scores(config.scores)}
    if unscored := [record.file_name for record in records if record.file_name not in rows]:
        raise InputError(
            f"{len(unscored)} images have no score in {config.scores} ({unscored[0]}, ...); score the folder again"
        )
    run = RunFolder.open(config.out, "prefer from-scores", config, free=FREE)

    def sets() -> Iterator[RankedSet]:
        for group in comparable(by_prompt(records), tally):
            scores = {name: [float(rows[record.file_name][name]) for record in group] for name in signs}
            yield ranked_by(score_votes(scores, signs, config.margin), group, scores)

    write_preferences(run, sets(), tally)
    return run.path


def score_votes(scores: Mapping[str, Sequence[float]], signs: Mapping[str, int], margin: float) -> list[Vote]:
    """One vote a scorer on n images.

    Args:
        scores: [n] of each scorer, by its name.
        signs: 1 for a scorer of which higher is better, -1 where lower is.
        margin: as of `rank_scores`.
    """
    return [Vote(name, rank_scores([signs[name] * s for s in found], margin)) for name, found in scores.items()]


def refuse_auditor(scorer: str, what: str) -> None:
    """Raises InputError if a scorer is one of the auditor's, which are not asked to `what`, such as to rank."""
    if scorer.startswith(AUDITOR):
        raise InputError(
            f"{scorer!r} cannot {what}: the auditor judges results and gives no training signal; use teacher"
        )


def rank_scores(scores: Sequence[float], margin: float = 0.0) -> tuple[int, ...]:
    """Ranks [n] of scores [n], the highest best; a score no more than `margin` below the best of a rank shares it."""
    ranks, rank, best = [0] * len(scores), 1, max(scores)
    for place in sorted(range(len(scores)), key=lambda i: -scores[i]):
        if best - scores[place] > margin:
            rank, best = rank + 1, scores[place]
        ranks[place] = rank
    return tuple(ranks)


def _columns(config: FromScoresConfig) -> Mapping[str, int]:
    """The columns that rank, each with 1 where higher is better and -1 where lower is."""
    summaries = read_summaries(config.scores)
    names = config.column or tuple(name for name in summaries if not name.startswith(AUDITOR))
    for name in names:
        if name not in summaries:
            has = ", ".join(summaries)
            raise InputError(f"{config.scores} has no scores {name!r}{nearest(name, summaries)}; it has {has}")
        refuse_auditor(name, "rank")
    if not names:
        raise InputError(
            f"{config.scores} has the auditor's scores alone, which cannot rank; score with teacher:utility"
        )
    return {name: 1 if summaries[name].higher_is_better else -1 for name in names}
