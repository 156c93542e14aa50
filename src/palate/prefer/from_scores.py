"""`palate prefer from-scores`: AI feedback, where scorers instead of people rank the images of each prompt."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from palate.core.errors import InputError, nearest
from palate.core.runs import RunFolder
from palate.prefer.real_first import matched, put_first, require_system
from palate.prefer.stage import FREE, comparable, ranked_by, write_preferences
from palate.records.image_folder import by_prompt
from palate.records.ranked import RankedSet, Vote
from palate.records.systems import as_field, image_sources
from palate.records.tally import Tally
from palate.score.load import may_train, refuse_judge
from palate.score.pooled import read_pooled, read_pooled_summaries
from palate.score.scored import Summary, scored_digest
from palate.score.weighted import weighted_mean, weighted_z_scores

ALL_TIED = "sets of ties alone"


class Scale(NamedTuple):
    """The scale of a scorer: `sign` is 1 where higher is better, else -1; `spread` is its standard deviation."""

    sign: int
    spread: float


@dataclass(frozen=True, kw_only=True)
class ScorerCombination:
    """How one or more scorers rank the images of a prompt."""

    combine: Literal["votes", "sum", "agree"] = "votes"
    """How several scorers rank: votes gives each one vote, sum adds up their standardised scores, and agree ranks an
    image above another only where every scorer does."""
    weights: tuple[float, ...] = ()
    """What each scorer counts in the sum against the others, in their order; all the same when left out."""
    normalise: Literal["run", "prompt"] = "run"
    """What the sum standardises a scorer's scores by: their standard deviation over the whole run, or among the images
    of the set (GDPO), where of two images the better one then gets the same whatever the difference is."""
    margin: float | tuple[float, ...] = 0.0
    """Images whose scores differ by no more than this are tied, in the scorer's own units; one for all scorers, or one
    each. With combine sum it is one, in standard deviations of a scorer as normalise says."""

    def __post_init__(self) -> None:
        if isinstance(self.margin, tuple) and len(self.margin) == 1:  # so that --margin 0.1 is margin: 0.1
            object.__setattr__(self, "margin", self.margin[0])
        margins = self.margin if isinstance(self.margin, tuple) else (self.margin,)
        wrong = {
            f"margin must be zero or above, not {self.margin}": not margins or min(margins) < 0,
            f"combine sum has one margin, not {len(margins)}": self.combine == "sum" and len(margins) > 1,
            f"weights must be above zero, not {self.weights}": any(weight <= 0 for weight in self.weights),
            f"weights are for combine sum, not {self.combine}; give that, or leave them out": self.weights
            and self.combine != "sum",
            f"normalise is for combine sum, not {self.combine}; give that, or leave it out": self.normalise != "run"
            and self.combine != "sum",
        }
        if messages := [message for message, found in wrong.items() if found]:
            raise ValueError("; ".join(messages))

    def check(self, scorers: Sequence[str]) -> None:
        """Raises InputError where there are several weights or margins, but not one for each of the scorers."""
        names = tuple(dict.fromkeys(scorers))
        for field, given in {"weights": self.weights, "margin": self.margin}.items():
            if isinstance(given, tuple) and given and len(given) != len(names):
                listed = ", ".join(names)
                raise InputError(f"{field} has {len(given)} values for {len(names)} scorers ({listed}); give one each")

    def votes(self, scores: Mapping[str, Sequence[float]], scales: Mapping[str, Scale]) -> list[Vote]:
        """The votes on n images: one vote of each scorer, or one combined vote.

        Args:
            scores: the scores [n] of each scorer, by its name.
            scales: the scale of each scorer over the whole run; only `sum` uses the spreads, unless it normalises by
                the prompt.
        """
        columns = [[scales[name].sign * score for score in found] for name, found in scores.items()]
        margins = self.margin if isinstance(self.margin, tuple) else (self.margin,) * len(columns)
        if self.combine == "votes":
            return [Vote(name, rank_scores(each, margin)) for name, each, margin in zip(scores, columns, margins)]
        if self.combine == "agree":
            return [Vote(" & ".join(scores), rank_agreed(columns, margins))]
        weights = self.weights or (1.0,) * len(columns)
        if self.normalise == "prompt":
            sums = weighted_z_scores(columns, weights)
        else:
            sums = weighted_mean(columns, [scales[name].spread for name in scores], weights)
        return [Vote(" + ".join(scores), rank_scores(sums, margins[0]))]


@dataclass(frozen=True, kw_only=True)
class FromScoresConfig(ScorerCombination):
    """Which scores rank which images."""

    scores: Path | tuple[Path, ...]
    """Run folder of `palate score`; of several, the images of a prompt are one ranked set."""
    out: Path
    """Run folder."""
    column: tuple[str, ...] = ()
    """Scorers that rank the images; all of the run's but those of judges of results when left out."""
    images: Path | tuple[str, ...] | None = None
    """Where the scored images lie now, if they were moved: each folder, in the order of the runs; name=FOLDER also
    names the system."""
    real_first: str | None = None
    """System whose images are real, such as the name of their folder: they are rank 1 above all others, whatever their
    scores."""
    allow_missing: bool = False
    """Of several systems, rank only the prompts of which every system has an image and count the others, instead of
    stopping."""
    min_systems: int | None = None
    """Of several systems, rank the prompts of which so many or more have an image, 2 or above, and count the others."""
    skip_bad: bool = False
    """Leave out images that are missing or broken and count them, instead of stopping."""

    def __post_init__(self) -> None:
        if isinstance(self.scores, tuple) and len(self.scores) == 1:  # a flag with one value and a file's are the same
            object.__setattr__(self, "scores", self.scores[0])
        if self.images is not None:
            object.__setattr__(self, "images", as_field(self.images))
        if self.scores == ():
            raise ValueError("scores must name at least one run")
        if self.min_systems is not None and self.min_systems < 2:
            raise ValueError(f"min_systems must be 2 or above, not {self.min_systems}")
        super().__post_init__()
        if self.column:
            self.check(self.column)

    @property
    def runs(self) -> tuple[Path, ...]:
        """The runs of `palate score`."""
        return self.scores if isinstance(self.scores, tuple) else (self.scores,)


def prefer_from_scores(config: FromScoresConfig) -> Path:
    """Ranks the images of each prompt by their scores.

    Returns:
        The run folder; its summary also has the number of sets that are one tie, from which no pair can be learned.

    Raises:
        InputError: there are no such scores, a column is unknown or its scorer changed between runs, a prompt lacks an
            image of a system, the number of weights or margins is not the number of
            columns, an image is broken or has changed since it was scored, or a column is of a judge of results, which
            never gives a training signal.
        RunFolderError: the folder contains another run.
    """
    columns = _columns(config)
    config.check(tuple(columns))
    scales = {name: Scale(1 if of.higher_is_better else -1, of.spread) for name, of in columns.items()}
    tally, found = Tally(config.skip_bad), Counter[str]()
    images = () if config.images is None else image_sources(config.images)
    scored = read_pooled(config.runs, list(scales), tally, images)
    if config.real_first:
        require_system(config.real_first, [record for record, _ in scored])
    groups = by_prompt(record for record, _ in scored)
    groups = matched(groups, config.allow_missing, tally, config.min_systems)
    values = {id(record): of for record, of in scored}
    inputs = {"images and scores": scored_digest(scored)}
    run = RunFolder.open(config.out, "prefer from-scores", config, free=FREE, inputs=inputs)

    def sets() -> Iterator[RankedSet]:
        for group in comparable(groups, tally):
            scores = {name: [values[id(record)][name] for record in group] for name in scales}
            real = [(record.system or record.model) == config.real_first for record in group]
            ranked = ranked_by(put_first(config.votes(scores, scales), real), group, scores)
            found[ALL_TIED] += max(ranked.ranks or (1,)) == 1
            yield ranked

    write_preferences(run, sets(), tally, found=found)
    return run.path


def rank_scores(scores: Sequence[float], margin: float = 0.0) -> tuple[int, ...]:
    """The ranks [n] of scores [n], the highest is best; scores within `margin` of a rank's best share it."""
    ranks, rank, best = [0] * len(scores), 1, max(scores)
    for place in sorted(range(len(scores)), key=lambda i: -scores[i]):
        if best - scores[place] > margin:
            rank, best = rank + 1, scores[place]
        ranks[place] = rank
    return tuple(ranks)


def rank_agreed(columns: Sequence[Sequence[float]], margins: Sequence[float]) -> tuple[int, ...]:
    """The ranks [n] that order two images only where every scorer prefers the same one by more than its margin.

    Agreement is transitive, but disagreement is not, so agreement alone does not give a ranking: a may be above c while
    neither is ordered with respect to b. The finest ranking without a pair that is not agreed on ties all images that
    are connected by unordered pairs, here a, b and c. These groups are ordered: if a is above c of another group, and d
    is unordered with respect to c, then d is not above a (it would be above c) and not unordered with respect to a (it
    would be in a's group), so a is above d; by induction, all of a's group is above all of c's. So every scorer has the
    groups in the same order, with a difference of more than its margin between all images above a border and all images
    below it; this function finds these borders.

    Args:
        columns: the scores [n] of each scorer, higher is better.
        margins: one for each scorer, zero or above.

    >>> rank_agreed([[3.0, 2.0, 1.0], [3.0, 1.0, 2.0]], [0.0, 0.0])
    (1, 2, 2)
    """
    order = sorted(range(len(columns[0])), key=lambda image: -columns[0][image])
    ranks, rank = [0] * len(order), 1
    for place, image in enumerate(order):
        above, below = order[:place], order[place:]
        if above and all(
            min(scores[i] for i in above) - max(scores[i] for i in below) > margin
            for scores, margin in zip(columns, margins)
        ):
            rank += 1
        ranks[image] = rank
    return tuple(ranks)


def _columns(config: FromScoresConfig) -> Mapping[str, Summary]:
    """The columns that rank the images."""
    summaries, where = read_pooled_summaries(config.runs, config.column), " and ".join(map(str, config.runs))
    names = config.column or tuple(name for name in summaries if may_train(name))
    for name in names:
        if name not in summaries:
            has = ", ".join(summaries)
            raise InputError(f"{where} has no scores {name!r}{nearest(name, summaries)}; it has {has}")
        refuse_judge(name, "rank")
    if not names:
        raise InputError(f"{where} only has scores of judges of results, which cannot rank; score by another scorer")
    return {name: summaries[name] for name in names}
