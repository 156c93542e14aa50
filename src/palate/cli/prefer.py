"""`palate prefer import`, `from-scores`, `relabel`, `filter`, `simulate` and `grade`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from palate.cli.dispatch import Command, dispatch
from palate.core.config import parse

DESCRIPTION = "Makes ranked sets or graded images, what `palate align` learns from."
IMPORT = "Reads published preferences or your own folder, and checks every image."
FROM_SCORES = "Ranks the images of each prompt by scorers: by votes, by a weighted sum, or where all agree."
RELABEL = "Ranks existing sets again by scorers, or keeps the sets that scorers agree with."
FILTER = "Keeps ranked sets and images by system, score, duplicates, votes and agreement, or makes pairs of sets."
SIMULATE = "Lets five simulated raters with the taste of a scorer vote on the images of each prompt."

GRADE = "Grades single images in [0, 1], by rankings or by scores: thumbs for kto, rewards for reward_weighted."


def run(argv: Sequence[str]) -> int:
    """Runs a subcommand."""
    return dispatch("palate prefer", DESCRIPTION, COMMANDS, argv)


def import_votes(prog: str, description: str, argv: Sequence[str]) -> int:
    """Reads published preferences or collected votes; `palate collect import` is the same."""
    from palate.prefer.importing import ImportConfig, import_preferences

    return _tell(import_preferences(parse(ImportConfig, argv, prog=prog, description=description)))


def _from_scores(argv: Sequence[str]) -> int:
    from palate.prefer.from_scores import FromScoresConfig, prefer_from_scores

    prog = "palate prefer from-scores"
    return _tell(prefer_from_scores(parse(FromScoresConfig, argv, prog=prog, description=FROM_SCORES)))


def _relabel(argv: Sequence[str]) -> int:
    from palate.prefer.relabel import RelabelConfig, relabel

    return _tell(relabel(parse(RelabelConfig, argv, prog="palate prefer relabel", description=RELABEL)))


def _filter(argv: Sequence[str]) -> int:
    from palate.prefer.filtering import FilterSetsConfig, filter_sets

    return _tell(filter_sets(parse(FilterSetsConfig, argv, prog="palate prefer filter", description=FILTER)))


def _simulate(argv: Sequence[str]) -> int:
    from palate.prefer.simulate import SimulateConfig, simulate_preferences

    return _tell(simulate_preferences(parse(SimulateConfig, argv, prog="palate prefer simulate", description=SIMULATE)))


def _grade(argv: Sequence[str]) -> int:
    from palate.prefer.grading import GradeConfig, grade

    return _tell(grade(parse(GradeConfig, argv, prog="palate prefer grade", description=GRADE)), "kto")


def _tell(folder: Path, method: str = "dpo") -> int:
    from palate.core.runs import RunFolder

    summary = RunFolder(folder).finished or {}
    print(f"{folder} has " + ", ".join(f"{count} {what}" for what, count in summary.items()))
    if "bad rows" in summary:
        print(f"the bad rows that were left out are named in {folder / 'bad_rows.txt'}")
    print(f"next: palate align {method} --model MODEL --preferences {folder} --out runs/{method}")
    return 0


COMMANDS = {
    "import": Command(IMPORT, partial(import_votes, "palate prefer import", IMPORT)),
    "from-scores": Command(FROM_SCORES, _from_scores),
    "relabel": Command(RELABEL, _relabel),
    "filter": Command(FILTER, _filter),
    "simulate": Command(SIMULATE, _simulate),
    "grade": Command(GRADE, _grade),
}
