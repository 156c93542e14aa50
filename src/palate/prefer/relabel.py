"""`palate prefer relabel`: existing rankings, ranked again by scorers, or without sets that scorers contradict."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from statistics import pstdev
from typing import TYPE_CHECKING, Literal

from palate.core.progress import track
from palate.core.runs import RunFolder
from palate.prefer.aggregation import aggregate
from palate.prefer.from_scores import ALL_TIED, Scale, ScorerCombination
from palate.prefer.load import load_preferences
from palate.prefer.stage import FREE, digest_sets, write_preferences
from palate.records.ranked import RankedSet, Vote
from palate.records.tally import Tally

if TYPE_CHECKING:
    from palate.score.base import Scorer

KEPT, REVERSED, TIED = (f"of people's pairs {what}" for what in ("kept", "reversed", "tied"))


@dataclass(frozen=True, kw_only=True)
class RelabelConfig(ScorerCombination):
    """Whose rankings, and which scorers."""

    preferences: str
    """Rankings, as `palate align` takes them; sets that nobody has ranked are pseudo-labelled too."""
    scorer: tuple[str, ...]
    """One or more scorers, such as clip:yuvalkirstain/PickScore_v1 as in Diffusion-DPO."""
    out: Path
    """Run folder."""
    keep: Literal["relabelled", "agreed"] = "relabelled"
    """Write every set with the scorers' ranking; or write, with their own ranking, only the sets of which the scorers
    reverse no pair."""
    device: str | None = None
    """Such as cpu or cuda; the best one there is when left out."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.scorer:
            raise ValueError("scorer must name at least one, such as clip:<model>")
        self.check(self.scorer)


def relabel(config: RelabelConfig) -> Path:
    """Ranks the images of existing sets by scorers.

    Returns:
        The run folder; its summary also says, of the pairs that people had ordered, for how many the scorers gave the
        same order, the reverse order, or a tie.

    Raises:
        InputError: there are no such rankings or no such scorer, a score is not finite, or the scorer is a judge of
            results, which never gives a training signal.
        RunFolderError: the folder contains another run, or the rankings or a scorer changed since it began.

    Reference: Wallace et al. 2023 (arXiv:2311.12908), section 5.3, who train on Pick-a-Pic's pairs as PickScore ranks
    them.
    """
    from palate.score.base import note_prompts_cut_off
    from palate.score.load import fingerprints, load_scorer, refuse_judge

    for spec in config.scorer:
        refuse_judge(spec, "rank")
    scorers = [load_scorer(spec, config.device) for spec in config.scorer]
    sets, tally, found = load_preferences(config.preferences), Tally(), Counter[str]()
    inputs = {"preferences": digest_sets(sets), **fingerprints(scorers)}
    run = RunFolder.open(config.out, "prefer relabel", config, free=FREE | {"device"}, inputs=inputs)
    found.update(note_prompts_cut_off(scorers, (each.prompt for each in sets)))

    def relabelled() -> Iterator[RankedSet]:
        scored = [_scores(each, scorers) for each in track(sets, "scoring")]
        scales = {scorer.name: _scale(scorer, scored) for scorer in scorers}
        for before, scores in zip(sets, scored, strict=True):
            after = _ranked_again(before, scores, config.votes(scores, scales))
            outcomes = _outcomes(before, after)
            found.update(outcomes)
            if config.keep == "relabelled":
                found[ALL_TIED] += max(after.ranks or (1,)) == 1
                yield after
            elif before.ranks is None or outcomes[REVERSED]:
                tally.drop("sets dropped")
            else:
                yield before

    write_preferences(run, relabelled(), tally, len(sets), found)
    return run.path


def _scores(ranked: RankedSet, scorers: Sequence[Scorer]) -> dict[str, tuple[float, ...]]:
    from palate.score.base import require_score, score_images

    images, prompts = [image.open() for image in ranked.images], [ranked.prompt] * len(ranked.images)
    found = {scorer.name: tuple(score_images(scorer, images, prompts)) for scorer in scorers}
    for name, scores in found.items():
        for image, value in zip(ranked.images, scores, strict=True):
            require_score(name, value, image)
    return found


def _scale(scorer: Scorer, scored: Sequence[Mapping[str, Sequence[float]]]) -> Scale:
    spread = pstdev(score for scores in scored for score in scores[scorer.name])
    return Scale(1 if scorer.higher_is_better else -1, spread)


def _ranked_again(ranked: RankedSet, scores: Mapping[str, tuple[float, ...]], votes: Sequence[Vote]) -> RankedSet:
    ranks = aggregate(votes, len(ranked.images))
    return dataclasses.replace(ranked, ranks=ranks, votes=tuple(votes), scores={**ranked.scores, **scores})


def _outcomes(before: RankedSet, after: RankedSet) -> Counter[str]:
    """The counts of pairs that people had ordered, by the scorers' order of them."""
    outcomes: Counter[str] = Counter()
    for i, j in combinations(range(len(before.images)) if before.ranks and after.ranks else (), 2):
        people, scorers = ((each.ranks or ())[j] - (each.ranks or ())[i] for each in (before, after))
        if people:
            outcomes[KEPT if people * scorers > 0 else REVERSED if scorers else TIED] += 1
    return outcomes
