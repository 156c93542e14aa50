"""`palate prefer from-scores`: AI feedback, the images of each prompt ranked by scorers instead of people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from palate.core.errors import InputError, nearest
from palate.core.runs import RunFolder
from palate.prefer.stage import FREE, comparable, ranked_by, write_preferences
from palate.records.image_folder import by_prompt
from palate.records.ranked import RankedSet, Vote
from palate.records.tally import Tally
from palate.score.load import may_train, refuse_judge
from palate.score.stage import Summary, read_scored, read_summaries, scored_digest

ALL_TIED = "sets of ties alone"


class Scale(NamedTuple):
    """How one scorer counts: `sign` is 1 where higher is better, else -1; `spread` is its standard deviation."""

    sign: int
    spread: float


@dataclass(frozen=True, kw_only=True)
class ScorerCombination:
    """How one scorer or several rank the images of a prompt."""

    combine: Literal["votes", "sum", "agree"] = "votes"
    """How several scorers rank: votes gives each one vote, sum adds up their standardised scores, and agree ranks an
    image above another only where every scorer does."""
    weights: tuple[float, ...] = ()
    """What each scorer counts in the sum against the others, in their order; all the same when left out."""
    margin: float | tuple[float, ...] = 0.0
    """Images whose scores differ by no more than this are tied, in the scorer's own units; one for all scorers, or one
    each. With combine sum it is one, in standard deviations of a scorer."""

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
        }
        if messages := [message for message, found in wrong.items() if found]:
            raise ValueError("; ".join(messages))

    def check(self, scorers: Sequence[str]) -> None:
        """Raises InputError where there are several weights or margins and not one for each of the scorers."""
        names = tuple(dict.fromkeys(scorers))
        for field, given in {"weights": self.weights, "margin": self.margin}.items():
            if isinstance(given, tuple) and given and len(given) != len(names):
                listed = ", ".join(names)
                raise InputError(f"{field} has {len(given)} values for {len(names)} scorers ({listed}); give one each")

    def votes(self, scores: Mapping[str, Sequence[float]], scales: Mapping[str, Scale]) -> list[Vote]:
        """The votes on n images: one of each scorer, or one that they cast together.

        Args:
            scores: [n] of each scorer, by its name.
            scales: of each scorer over the whole run; only `sum` reads the spreads.
        """
        columns = [[scales[name].sign * score for score in found] for name, found in scores.items()]
        margins = self.margin if isinstance(self.margin, tuple) else (self.margin,) * len(columns)
        if self.combine == "votes":
            return [Vote(name, rank_scores(each, margin)) for name, each, margin in zip(scores, columns, margins)]
        if self.combine == "agree":
            return [Vote(" & ".join(scores), rank_agreed(columns, margins))]
        weights = self.weights or (1.0,) * len(columns)
        sums = weighted_mean(columns, [scales[name].spread for name in scores], weights)
        return [Vote(" + ".join(scores), rank_scores(sums, margins[0]))]


@dataclass(frozen=True, kw_only=True)
class FromScoresConfig(ScorerCombination):
    """Which scores rank which images."""

    scores: Path
    """Run folder of `palate score`."""
    out: Path
    """Run folder."""
    column: tuple[str, ...] = ()
    """Scorers that rank the images; all of the run's but those of judges of results when left out."""
    images: Path | None = None
    """Where the scored images lie now, if they were moved."""
    skip_bad: bool = False
    """Leave out images that are missing or broken and count them, instead of stopping."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.column:
            self.check(self.column)


def prefer_from_scores(config: FromScoresConfig) -> Path:
    """Ranks the images of each prompt by their scores.

    Returns:
        The run folder; its summary also says how many sets are ties alone, of which no pair can be learned.

    Raises:
        InputError: no such scores, an unknown column, not a weight or margin a column, a broken image, one that changed
            since it was scored, or a column of a judge of results, which never gives a training signal.
        RunFolderError: the folder holds another run.
    """
    columns = _columns(config)
    config.check(tuple(columns))
    scales = {name: Scale(1 if of.higher_is_better else -1, of.spread) for name, of in columns.items()}
    tally, found = Tally(config.skip_bad), Counter[str]()
    scored = read_scored(config.scores, list(scales), tally, config.images)
    values = {id(record): of for record, of in scored}
    inputs = {"images and scores": scored_digest(scored)}
    run = RunFolder.open(config.out, "prefer from-scores", config, free=FREE, inputs=inputs)

    def sets() -> Iterator[RankedSet]:
        for group in comparable(by_prompt(record for record, _ in scored), tally):
            scores = {name: [values[id(record)][name] for record in group] for name in scales}
            ranked = ranked_by(config.votes(scores, scales), group, scores)
            found[ALL_TIED] += max(ranked.ranks or (1,)) == 1
            yield ranked

    write_preferences(run, sets(), tally, found=found)
    return run.path


def rank_scores(scores: Sequence[float], margin: float = 0.0) -> tuple[int, ...]:
    """Ranks [n] of scores [n], the highest best; a score no more than `margin` below the best of a rank shares it."""
    ranks, rank, best = [0] * len(scores), 1, max(scores)
    for place in sorted(range(len(scores)), key=lambda i: -scores[i]):
        if best - scores[place] > margin:
            rank, best = rank + 1, scores[place]
        ranks[place] = rank
    return tuple(ranks)


def rank_agreed(columns: Sequence[Sequence[float]], margins: Sequence[float]) -> tuple[int, ...]:
    """Ranks [n] that tell two images apart only where every scorer puts the same one higher by more than its margin.

    Agreement is transitive, but what is not agreed is not, so agreement alone is no ranking: a may be above c and both
    be open against b. The finest ranking that claims no pair which is not agreed ties all that open pairs connect,
    here a, b and c. These groups are ordered: if a is above c of another group, and d is open against c, then d is
    not above a (it would be above c), nor open against a (it would be of a's group), so a is above d; step by step,
    all of a's group is above all of c's. So every scorer has the groups in the same order, and more than its margin
    between all above and all below a border, by which this finds them.

    Args:
        columns: scores [n] of each scorer, higher is better.
        margins: one a scorer, zero or above.

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


def weighted_mean(
    columns: Sequence[Sequence[float]], spreads: Sequence[float], weights: Sequence[float]
) -> list[float]:
    """Mean [n] of scores [n] of several scorers in units of each one's spread; one that never differs says nothing.

    These are z-scores but for a constant, which no difference between images has.
    """
    shares = [weight / spread / sum(weights) if spread else 0.0 for weight, spread in zip(weights, spreads)]
    return [sum(share * score for share, score in zip(shares, image)) for image in zip(*columns)]


def _columns(config: FromScoresConfig) -> Mapping[str, Summary]:
    """The columns that rank."""
    summaries = read_summaries(config.scores)
    names = config.column or tuple(name for name in summaries if may_train(name))
    for name in names:
        if name not in summaries:
            has = ", ".join(summaries)
            raise InputError(f"{config.scores} has no scores {name!r}{nearest(name, summaries)}; it has {has}")
        refuse_judge(name, "rank")
    if not names:
        raise InputError(
            f"{config.scores} has scores of judges of results alone, which cannot rank; score by another scorer"
        )
    return {name: summaries[name] for name in names}
