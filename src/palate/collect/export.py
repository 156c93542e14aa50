"""`palate collect export`: the votes of a study as ranked sets, or in another format."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from palate.core.errors import InputError, nearest
from palate.core.files import atomic_folder
from palate.core.runs import RunFolder

if TYPE_CHECKING:
    from palate.collect.config import StudyConfig
    from palate.collect.study import OpenStudy
    from palate.collect.writers.ballots import Asked
    from palate.records.ranked import RankedSet
    from palate.records.tally import Tally


@dataclass(frozen=True, kw_only=True)
class ExportConfig:
    """The votes that are exported, and their format."""

    study: Path
    """Folder of the study, which may go on meanwhile."""
    out: Path
    """Run folder; `palate align`, `prefer` and `reward` take it as it is."""
    format: Literal["palate", "pickapic", "hpdv2", "label-studio"] = "palate"
    """Palate's own ranked sets with all data, or a folder of that name in Pick-a-Pic v2's, HPDv2's or Label Studio's
    format; what that format cannot represent is counted."""
    question: str | None = None
    """Which of the study's questions; its first when left out."""
    least_votes: int = 1
    """Leave out items that fewer raters answered."""
    majority: int = 0
    """Pairwise and best: the fewest votes that a winner must have, three of five in Wallace et al. 2023, section 5.1;
    where it has fewer, all images of the set tie."""
    raters: Literal["counted", "all"] = "counted"
    """counted: leave out raters in quarantine; all: take every rater."""
    anonymous: bool = True
    """Name raters rater-1, rater-2 and so on instead of using their names."""

    def __post_init__(self) -> None:
        wrong = []
        if self.least_votes < 1:
            wrong.append(f"least_votes must be above zero, not {self.least_votes}")
        if self.majority < 0:
            wrong.append(f"majority must be zero or above, not {self.majority}")
        if self.majority and self.format == "label-studio":
            wrong.append("label-studio keeps single votes and no outcome, so majority cannot be used; leave it out")
        if wrong:
            raise ValueError("; ".join(wrong))


def export_study(config: ExportConfig) -> Path:
    """Writes the votes that count: of the standing answers to one question, on items that are neither gold nor repeats.

    Images are the pictures as raters saw them. `summary.json` counts what was left out, by reason. A finished export is
    not written again; where votes came or raters were quarantined since, the folder is refused.

    Returns:
        The run folder.

    Raises:
        InputError: no such study or question, no vote that counts, or a picture that is missing.
        RunFolderError: the folder holds another run, or an older export.
    """
    from palate.collect.study import open_study
    from palate.collect.writers.ballots import read_ballots, state
    from palate.prefer.load import EXPORT
    from palate.prefer.stage import FREE
    from palate.records.tally import Tally

    study = open_study(config.study)
    try:
        question, counted = _question(config, study.config), config.raters == "counted"
        run = RunFolder.open(config.out, EXPORT, config, free=FREE, inputs=state(study, counted))
        if run.finished is None:
            tally = Tally()
            asked = read_ballots(
                study, question, tally, anonymous=config.anonymous, counted=counted, least=config.least_votes
            )
            _write(run, config, study, question, asked, tally)
        return run.path
    finally:
        study.close()


def _question(config: ExportConfig, study: StudyConfig) -> str:
    if config.majority and study.task not in ("pairwise", "best"):
        raise InputError(
            f"majority is of pairwise and best; the study in {config.study} is a {study.task}: leave it out"
        )
    if config.question is None:
        return study.questions[0]
    if config.question not in study.questions:
        known = ", ".join(study.questions)
        raise InputError(
            f"the study asks no {config.question!r}{nearest(config.question, study.questions)}; it asks {known}"
        )
    return config.question


def _write(
    run: RunFolder, config: ExportConfig, study: OpenStudy, question: str, asked: Sequence[Asked], tally: Tally
) -> None:
    from palate.collect.writers.sets import ranked_sets
    from palate.prefer.stage import write_preferences

    of_items = config.format == "label-studio"
    sets = [] if of_items else list(ranked_sets(asked, study.config.task, config.majority, tally))
    if not (asked if of_items else sets):
        run.abandon()
        why = ", ".join(f"{number} {reason}" for reason, number in tally.summary().items()) or "no items"
        raise InputError(f"the study in {config.study} has no vote to export ({why}); collect some, or ask for fewer")
    raters = {"raters": len({ballot.number for each in asked for ballot in each.ballots})}
    if config.format == "palate":
        write_preferences(run, sets, tally, len(sets), raters)
        return
    try:
        with run.timer("export"), atomic_folder(run.path / config.format) as folder:
            counts = _write_other(folder, config, study.config, question, asked, sets, tally)
    except InputError:
        run.abandon()
        raise
    run.finish({**counts, **raters, **tally.summary()})


def _write_other(
    folder: Path,
    config: ExportConfig,
    study: StudyConfig,
    question: str,
    asked: Sequence[Asked],
    sets: Sequence[RankedSet],
    tally: Tally,
) -> dict[str, int]:
    from palate.collect.writers import hpdv2, labelstudio, pickapic

    if config.format == "label-studio":
        wording = study.wording()[question]
        return labelstudio.write(folder, asked, study.task, question, wording)
    return (pickapic if config.format == "pickapic" else hpdv2).write(folder, sets, tally)
