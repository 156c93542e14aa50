"""`palate prefer simulate`: five simulated raters with the taste of a scorer vote on the images of each prompt."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from palate.core.progress import track
from palate.core.runs import RunFolder
from palate.core.seeds import numpy_generator
from palate.prefer.simulated_raters import RATERS, simulated_ranking
from palate.prefer.stage import FREE, comparable, digest_rows, ranked_by, write_preferences
from palate.records.image_folder import ImageRecord, by_prompt, read_image_folder
from palate.records.ranked import RankedSet, Vote
from palate.records.tally import Tally
from palate.score.load import fingerprints, load_scorer, refuse_judge
from palate.score.stage import scores_of

if TYPE_CHECKING:
    from palate.score.base import Scorer


@dataclass(frozen=True, kw_only=True)
class SimulateConfig:
    """Whose images are voted on."""

    images: Path
    """Run folder of `palate generate` with several images a prompt."""
    scorer: str
    """The scorer of the raters' utilities: clip:<model>, reward:<run> or any other scorer."""
    temperature: float = 1.0
    """The difference of two scores, in the scorer's own units, at which the raters choose the better image in 73% of
    cases; 1 suits a scorer whose differences are log-odds, such as PickScore or a Bradley-Terry reward."""
    out: Path
    """Run folder."""
    seed: int = 0
    """Seed of the raters' noise."""
    skip_bad: bool = False
    """Leave out images that are missing or broken and count them, instead of stopping."""
    device: str | None = None
    """Such as cpu or cuda; the best one there is when left out."""

    def __post_init__(self) -> None:
        if self.temperature <= 0:
            raise ValueError(f"temperature must be above zero, not {self.temperature}")


def simulate_preferences(config: SimulateConfig) -> Path:
    """Takes each image's utility from the scorer and draws the votes of `prefer.simulated_raters.RATERS`.

    A rater's noise is keyed by the images of the set, so votes do not depend on the other images of the folder.

    Returns:
        The run folder.

    Raises:
        InputError: there are no such images or no such scorer, an image is broken or cannot be read by the scorer, a
            score is not finite, or the scorer is a judge of results, which never gives a training signal.
        RunFolderError: the folder contains another run.
    """
    tally = Tally(config.skip_bad)
    groups = list(comparable(by_prompt(read_image_folder(config.images, tally)), tally))
    refuse_judge(config.scorer, "rank")
    scorer = load_scorer(config.scorer, config.device)
    utilities = _utilities(groups, scorer)
    images = digest_rows([each.prompt, each.image.digest()] for group in groups for each in group)
    inputs = {"images": images, **fingerprints([scorer])}
    run = RunFolder.open(config.out, "prefer simulate", config, free=FREE | {"device"}, inputs=inputs)

    def sets() -> Iterator[RankedSet]:
        for group, utility in zip(groups, utilities, strict=True):
            yield ranked_by(_votes(group, utility, config), group, {scorer.name: utility})

    write_preferences(run, sets(), tally, len(groups))
    return run.path


def _utilities(groups: Sequence[Sequence[ImageRecord]], scorer: Scorer) -> list[list[float]]:
    """The utility of each image for the raters, by group; higher is better."""
    sign = 1 if scorer.higher_is_better else -1
    return [[sign * score for score in scores_of(scorer, group)] for group in track(groups, "reading utilities")]


def _votes(group: Sequence[ImageRecord], utility: Sequence[float], config: SimulateConfig) -> list[Vote]:
    images = " ".join(record.image.digest() for record in group)
    rngs = {rater: numpy_generator(config.seed, "rater", images, rater.name) for rater in RATERS}
    return [Vote(rater.name, simulated_ranking(utility, rater, rngs[rater], config.temperature)) for rater in RATERS]
