"""What a reward is learned from, and by which loss: one short class a task."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from palate.core.errors import InputError
from palate.core.seeds import numpy_generator
from palate.objectives.bradley_terry import bradley_terry
from palate.objectives.graded import realism, regression
from palate.objectives.metrics import Metrics
from palate.objectives.plackett_luce import plackett_luce
from palate.prefer.grades import load_graded
from palate.prefer.load import load_preferences
from palate.records.image_folder import read_image_folder
from palate.records.tally import Tally
from palate.reward.config import BradleyTerryConfig, DiscriminatorConfig, RegressionConfig
from palate.reward.examples import Example, Examples
from palate.reward.measure import Comparisons, TieThreshold, order_of, shares_of, spearman
from palate.reward.perturb import Perturbations
from palate.score.reward import Output

if TYPE_CHECKING:
    from palate.records.image_folder import ImageRecord
    from palate.records.ranked import RankedSet


class Task(ABC):
    """What is learned.

    Attributes:
        name: of the run and of the card.
        output: what the reward's numbers are.
    """

    name: str
    output: Output = "logit"

    @abstractmethod
    def examples(self) -> list[Example]:
        """All there is to learn from; InputError where the source cannot be used."""

    @abstractmethod
    def loss(self, score: Tensor, facts: Tensor) -> tuple[Tensor, Metrics]:
        """The loss [B] and metrics [B] of scores [B, n, m] of n images under m prompts, with the examples' facts."""

    @abstractmethod
    def judge(
        self, scores: np.ndarray, examples: Examples, rows: np.ndarray, tie: TieThreshold | None = None
    ) -> dict[str, Any]:
        """What scores [R, n] of some of the examples [R] say of the reward, in plain JSON.

        Args:
            tie: the threshold of ties, where the task knows any; the best one on these examples when left out.
        """

    def tie_threshold(self, scores: np.ndarray, rows: np.ndarray) -> float | None:
        """The threshold of ties that does best on scores [R, n] of some of the examples; None without any ties."""
        return None


class BradleyTerry(Task):
    """Rankings; every prompt counts alike, however many pairs it has (Kirstain et al. 2023, section 3)."""

    name = "bradley_terry"

    def __init__(self, config: BradleyTerryConfig) -> None:
        self.config = config

    def examples(self) -> list[Example]:
        """A ranked set each; facts are the share of raters that prefer i to j [n x n], or the ranks [n]."""
        sets = [each for each in load_preferences(self.config.preferences) if each.ranks]
        if not any(len(set(each.ranks or ())) > 1 for each in sets):
            raise InputError(f"{self.config.preferences} ranks no image above another; bradley_terry needs rankings")
        n, lists = max(len(each.images) for each in sets), self.config.form == "lists"
        # A pairwise loss is a mean over its pairs, a listwise one a sum over its choices.
        sizes = [len(each.images) - 1 if lists else len(each.images) * (len(each.images) - 1) // 2 for each in sets]
        total = Counter[str]()
        for each, size in zip(sets, sizes):
            total[each.prompt] += size
        self.sets = sets
        shares = [1] * len(sets) if lists else sizes
        return [
            Example(each.images, (each.prompt,), self._facts(each, n, lists), share / total[each.prompt])
            for each, share in zip(sets, shares)
        ]

    def loss(self, score: Tensor, facts: Tensor) -> tuple[Tensor, Metrics]:
        """See `Task`."""
        score = score[:, :, 0]
        if self.config.form == "lists":
            return plackett_luce(score, facts)
        return bradley_terry(score, facts.view(len(score), score.shape[1], score.shape[1]))

    def judge(
        self, scores: np.ndarray, examples: Examples, rows: np.ndarray, tie: TieThreshold | None = None
    ) -> dict[str, Any]:
        """See `Task`."""
        sets, found = self._scored(scores, rows)
        correlation, summary = spearman(sets, found), Comparisons.of(sets, found).summary(tie)
        return summary if correlation is None else {**summary, "spearman": correlation}

    def tie_threshold(self, scores: np.ndarray, rows: np.ndarray) -> float | None:
        """See `Task`."""
        return Comparisons.of(*self._scored(scores, rows)).tie_threshold()

    def _scored(self, scores: np.ndarray, rows: np.ndarray) -> tuple[list[RankedSet], list[list[float]]]:
        """Some of the sets, and the scores of the images that each has."""
        sets = [self.sets[row] for row in rows]
        return sets, [score[: len(each.images)].tolist() for score, each in zip(scores, sets)]

    def _facts(self, ranked: RankedSet, n: int, lists: bool) -> tuple[float, ...]:
        if lists:
            return (*map(float, ranked.ranks or ()), *[0.0] * (n - len(ranked.images)))
        return tuple(shares_of(ranked, n, self.config.votes).flatten().tolist())


class Regression(Task):
    """Grades (Lee et al. 2023, arXiv:2302.12192, section 3.2)."""

    name, output = "regression", "probability"

    def __init__(self, config: RegressionConfig) -> None:
        self.config = config

    def examples(self) -> list[Example]:
        """A graded image each, under its prompt and perturbed ones; facts are the grade."""
        graded = load_graded(self.config.grades)
        perturbations = Perturbations(each.prompt for each in graded)
        count = self.config.perturbed if self.config.auxiliary else 0

        def prompts(prompt: str, place: int) -> tuple[str, ...]:
            rng = numpy_generator(self.config.seed, "perturb", prompt, place)
            return (prompt, *perturbations.near(prompt, count, rng)) if count else (prompt,)

        return [Example((each.image,), prompts(each.prompt, place), (each.grade,)) for place, each in enumerate(graded)]

    def loss(self, score: Tensor, facts: Tensor) -> tuple[Tensor, Metrics]:
        """See `Task`."""
        return regression(score[:, 0], facts[:, 0], self.config.temperature, self.config.auxiliary)

    def judge(
        self, scores: np.ndarray, examples: Examples, rows: np.ndarray, tie: TieThreshold | None = None
    ) -> dict[str, Any]:
        """See `Task`."""
        grade, score = examples.facts[rows, 0], scores[:, 0]
        return {
            "images": len(rows),
            "squared error": float(np.square(score - grade).mean()),
            "variance of grades": float(grade.var()),
            **order_of(score, grade, examples.prompt[rows, 0]),
        }


class Realism(Task):
    """Real images against generated ones of the same captions."""

    name = "discriminator"

    def __init__(self, config: DiscriminatorConfig) -> None:
        self.config = config

    def examples(self) -> list[Example]:
        """An image each; facts are 1 for a real one, 0 for a generated one; both kinds weigh the same in all."""
        real = read_image_folder(self.config.real, Tally())
        generated = [each for folder in self.config.generated for each in read_image_folder(folder, Tally())]
        told = {each.prompt for each in real}
        strange = next((each.prompt for each in generated if each.prompt not in told), None)
        if strange is not None:
            mend = f"generate from {self.config.real}, so that captions alone tell nothing"
            raise InputError(f"no real image has the caption {strange!r} of a generated one; {mend}")
        if {each.image.digest() for each in real} & {each.image.digest() for each in generated}:
            raise InputError("an image is both real and generated; give folders that share none")
        return [*_labelled(real, 1.0), *_labelled(generated, 0.0)]

    def loss(self, score: Tensor, facts: Tensor) -> tuple[Tensor, Metrics]:
        """See `Task`."""
        return realism(score[:, 0, 0], facts[:, 0])

    def judge(
        self, scores: np.ndarray, examples: Examples, rows: np.ndarray, tie: TieThreshold | None = None
    ) -> dict[str, Any]:
        """See `Task`."""
        real, score = examples.facts[rows, 0], scores[:, 0]
        right = (score > 0) == (real > 0.5)
        balanced = float(np.mean([right[real == kind].mean() for kind in set(real)]))
        return {"images": len(rows), "balanced accuracy": balanced, **order_of(score, real, examples.prompt[rows, 0])}


def _labelled(records: Iterable[ImageRecord], real: float) -> list[Example]:
    records = list(records)
    return [Example((each.image,), (each.prompt,), (real,), 1 / len(records)) for each in records]
