"""`palate prefer filter`: the ranked sets of any source that pass filters, or pairs that are chosen from them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from palate.core.errors import InputError, nearest
from palate.core.runs import RunFolder
from palate.prefer.importing import images_elsewhere
from palate.prefer.indexing import source_fingerprint, sources
from palate.prefer.load import detect, iterate_preferences, locate
from palate.prefer.pair_choice import PairChoice, pairs_of
from palate.prefer.set_filters import SetFilter, by_agreement, by_score, by_system, by_votes, without_duplicates
from palate.prefer.stage import FREE, write_preferences
from palate.records.ranked import RankedSet
from palate.records.tally import Tally
from palate.score.load import refuse_judge
from palate.score.scored import SCORES, read_scores, read_summaries

REMOVED = "ranked sets removed by"


@dataclass(frozen=True, kw_only=True)
class FilterSetsConfig:
    """Which ranked sets and images are kept; the filters are applied in this order."""

    preferences: str
    """Rankings, as `palate align` takes them."""
    out: Path
    """Run folder."""
    systems: tuple[str, ...] = ()
    """Keep only the images of these systems."""
    without_systems: tuple[str, ...] = ()
    """Remove the images of these systems."""
    scores: Path | None = None
    """Run folder of `palate score` on the images; the scores in the sets themselves when left out."""
    column: str | None = None
    """Scorer whose scores have bounds, such as safety or nsfw."""
    at_least: float | None = None
    """Remove images with a lower score."""
    at_most: float | None = None
    """Remove images with a higher score."""
    duplicates: bool = True
    """Keep duplicates. Without it, images with the same bytes as a better one of their set are removed, and sets that
    are the same as an earlier one."""
    near: int | None = None
    """Also remove images that look like a better one of their set: at most so many of the 64 bits of their difference
    hashes differ. 0 to 4 finds the same picture in other sizes or formats."""
    min_votes: int = 0
    """Remove sets on which fewer raters have voted."""
    agreement: float = 0.0
    """Remove sets whose raters agree less with the ranking: the mean over its ordered pairs of the share of the raters
    who order the pair the same way, a tie is a half. Sets without votes are removed."""
    pairs: PairChoice | None = None
    """Make pairs of each set: all ordered ones, one of the best and the worst image, or one at random."""
    seed: int = 0
    """Seed of the choice of pairs."""
    skip_bad: bool = False
    """Leave out sets that are broken, or that have an image without the score, and count them, instead of stopping."""

    in_place: bool = False
    """Leave the images where they are and write only their places; the source must then stay unchanged."""

    def __post_init__(self) -> None:
        bounded = self.at_least is not None or self.at_most is not None
        wrong = {
            "give a filter, or pairs; without one every set would be kept": not (self._filters() or self.pairs),
            "column and at_least or at_most belong together; give both": bounded != (self.column is not None),
            "scores need a column and at_least or at_most": self.scores is not None and not bounded,
            f"near is a number of bits from 0 to 63, not {self.near}": self.near is not None
            and not 0 <= self.near < 64,
            f"min_votes must be zero or above, not {self.min_votes}": self.min_votes < 0,
            f"agreement is a share from 0 to 1, not {self.agreement}": not 0 <= self.agreement <= 1,
        }
        if None not in (self.at_least, self.at_most) and (self.at_least or 0) > (self.at_most or 0):
            wrong[f"at_least must not be above at_most, and {self.at_least} is above {self.at_most}"] = True
        if both := set(self.systems) & set(self.without_systems):
            wrong[f"{min(both)!r} is in both systems and without_systems"] = True
        if messages := [message for message, found in wrong.items() if found]:
            raise ValueError("; ".join(messages))

    def _filters(self) -> list[str]:
        """The names of the filters that are set."""
        found = {
            "systems": self.systems or self.without_systems,
            "score": self.column or self.at_least is not None or self.at_most is not None,
            "duplicates": not self.duplicates or self.near is not None,
            "min_votes": self.min_votes,
            "agreement": self.agreement,
        }
        return [name for name, is_set in found.items() if is_set]

    def filters(self, scores: Mapping[tuple[str, str], float] | None, tally: Tally) -> dict[str, SetFilter]:
        """The filters by name, in the order in which they are applied.

        Args:
            scores: see `by_score`.
            tally: counts what the filters remove.
        """
        low = -math.inf if self.at_least is None else self.at_least
        high = math.inf if self.at_most is None else self.at_most
        every = {
            "systems": by_system(self.systems, self.without_systems, tally),
            "score": by_score(scores, self.column or "", low, high, tally),
            "duplicates": without_duplicates(self.near, tally),
            "min_votes": by_votes(self.min_votes),
            "agreement": by_agreement(self.agreement),
        }
        return {name: every[name] for name in self._filters()}


def filter_sets(config: FilterSetsConfig) -> Path:
    """Writes the ranked sets that pass all filters.

    Returns:
        The run folder; its summary also has the number of sets that each filter removed, and of images that were
        removed from sets.

    Raises:
        InputError: there are no such rankings or scores, a set is bad, no set is left (the message says which filters
            removed how many), or the scores are of a judge of results, which never gives a training signal.
        RunFolderError: the folder contains another run, or the rankings or scores have changed since it began.
    """
    scores = _scores(config)
    path = locate(config.preferences)
    inputs = {"preferences": source_fingerprint(path)}
    inputs |= {"scores": source_fingerprint(config.scores / SCORES)} if config.scores else {}
    tally, found = Tally(config.skip_bad), Counter[str]()
    about = sources(path, *images_elsewhere(detect(path), path)) if config.in_place else None
    run = RunFolder.open(config.out, "prefer filter", config, free=FREE, inputs=inputs)
    write_preferences(run, _filtered(config, scores, tally, found), tally, found=found, about=about)
    return run.path


def _filtered(
    config: FilterSetsConfig, scores: Mapping[tuple[str, str], float] | None, tally: Tally, found: Counter[str]
) -> Iterator[RankedSet]:
    filters, systems, count, written = config.filters(scores, tally), set[str](), 0, 0
    for count, ranked in enumerate(iterate_preferences(config.preferences, tally), 1):
        systems.update(ranked.systems)
        left: list[RankedSet] = []
        with tally.row(f"ranked set {count}"):
            left = list(_passed(ranked, filters, config, found))
        written += len(left)
        yield from left
    if wrong := {*config.systems, *config.without_systems} - systems:
        name = min(wrong)
        raise InputError(f"no image is of the system {name!r}{nearest(name, systems)}; it has {', '.join(systems)}")
    if not written:
        reasons = ", ".join(f"{number} by {what.removeprefix(REMOVED).strip()}" for what, number in found.items())
        raise InputError(
            f"no ranked set of {config.preferences} is left of {count}: removed {reasons or 'as bad rows'}"
        )


def _passed(
    ranked: RankedSet, filters: Mapping[str, SetFilter], config: FilterSetsConfig, found: Counter[str]
) -> Iterator[RankedSet]:
    left: RankedSet | None = ranked
    for name, passes in filters.items():
        if (left := passes(left)) is None:
            found[f"{REMOVED} {name}"] += 1
            return
    if config.pairs is None:
        yield left
        return
    if not (pairs := list(pairs_of(left, config.pairs, config.seed))):
        found[f"{REMOVED} pairs (they order no pair)"] += 1
    yield from pairs


def _scores(config: FilterSetsConfig) -> Mapping[tuple[str, str], float] | None:
    """The scores of the run, as `by_score` takes them; None where no run is given."""
    if config.column:
        refuse_judge(config.column, "filter")
    if config.scores is None or config.column is None:
        return None
    summaries = read_summaries(config.scores)
    if config.column not in summaries:
        hint = nearest(config.column, summaries)
        raise InputError(f"{config.scores} has no scores {config.column!r}{hint}; it has {', '.join(summaries)}")
    rows, found, differ = read_scores(config.scores, [config.column]), dict[tuple[str, str], float](), set[str]()
    for row in rows:
        value = found[row["sha256"], row["prompt"]] = row[config.column]
        if found.setdefault((row["sha256"], ""), value) != value and row["prompt"]:
            differ.add(row["sha256"])  # the score depends on the prompt
    return {key: value for key, value in found.items() if key[1] or key[0] not in differ}
