"""What a reward is learned from, and by which loss: one short class a task."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from torch import Tensor

from palate.core.errors import InputError
from palate.core.seeds import numpy_generator
from palate.objectives.bradley_terry import bradley_terry
from palate.objectives.metrics import Metrics
from palate.objectives.plackett_luce import plackett_luce
from palate.objectives.realism import realism
from palate.objectives.regression import regression
from palate.prefer.grades import load_graded
from palate.prefer.load import load_rankings
from palate.records.columns import Grades
from palate.records.graded_image import GradedImage
from palate.records.image_columns import numbered
from palate.records.image_folder import read_image_folder
from palate.records.tally import Tally
from palate.reward.comparisons import Comparisons, TieThreshold, order_of, spearman
from palate.reward.config import BradleyTerryConfig, DiscriminatorConfig, RegressionConfig
from palate.reward.examples import RewardExamples
from palate.reward.perturb import Perturbations
from palate.score.reward import Output


class Task(ABC):
    """What is learned.

    Attributes:
        name: of the run and of the card.
        output: what the reward's numbers are.
        source: what it is learned from, as it was given.
    """

    name: str
    source: str
    output: Output = "logit"

    @abstractmethod
    def examples(self) -> RewardExamples:
        """All there is to learn from; InputError where the source cannot be used."""

    @abstractmethod
    def loss(self, score: Tensor, facts: Tensor) -> tuple[Tensor, Metrics]:
        """The loss [B] and metrics [B] of scores [B, n, m] of n images under m prompts, with the examples' facts."""

    @abstractmethod
    def judge(
        self, scores: np.ndarray, examples: RewardExamples, rows: np.ndarray, tie: TieThreshold | None = None
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
        self.config, self.source = config, config.preferences

    def examples(self) -> RewardExamples:
        """A ranked set each; facts are the share of raters that prefer i to j [n x n], or the ranks [n]."""
        rankings = load_rankings(self.config.preferences, self.config.cache)
        if not rankings.has_preference.any():
            raise InputError(f"{self.config.preferences} ranks no image above another; bradley_terry needs rankings")
        sets, lists = np.flatnonzero(rankings.ranked), self.config.form == "lists"
        n = int(rankings.size[sets].max())
        image, facts = np.zeros((len(sets), n), int), np.zeros((len(sets), n if lists else n * n))
        for size, same, members in rankings.by_size(sets):
            rows = np.searchsorted(sets, same)
            image[rows] = rankings.image[members[:, :1]]
            image[rows, :size] = rankings.image[members]
            if lists:
                facts[rows, :size] = rankings.rank[members]
            else:
                facts[rows] = rankings.shares(same, n, self.config.votes).reshape(len(same), -1)
        # A pairwise loss is a mean over its pairs, a listwise one a sum over its choices.
        size = rankings.size[sets]
        counts = size - 1 if lists else size * (size - 1) // 2
        prompt = rankings.prompt[sets]
        total = np.bincount(prompt, counts)[prompt]
        self.rankings, self.sets = rankings, sets
        weight = (1 if lists else counts) / total
        return RewardExamples.of(rankings.images, image, rankings.prompts, prompt[:, None], facts, weight)

    def loss(self, score: Tensor, facts: Tensor) -> tuple[Tensor, Metrics]:
        """See `Task`."""
        score = score[:, :, 0]
        if self.config.form == "lists":
            return plackett_luce(score, facts)
        return bradley_terry(score, facts.view(len(score), score.shape[1], score.shape[1]))

    def judge(
        self, scores: np.ndarray, examples: RewardExamples, rows: np.ndarray, tie: TieThreshold | None = None
    ) -> dict[str, Any]:
        """See `Task`."""
        rankings = self.rankings.take(self.sets[rows])
        correlation, summary = spearman(rankings, scores), Comparisons.of(rankings, scores).summary(tie)
        return summary if correlation is None else {**summary, "spearman": correlation}

    def tie_threshold(self, scores: np.ndarray, rows: np.ndarray) -> float | None:
        """See `Task`."""
        return Comparisons.of(self.rankings.take(self.sets[rows]), scores).tie_threshold()


class Regression(Task):
    """Grades (Lee et al. 2023, arXiv:2302.12192, section 3.2)."""

    name, output = "regression", "probability"

    def __init__(self, config: RegressionConfig) -> None:
        self.config, self.source = config, config.grades

    def examples(self) -> RewardExamples:
        """A graded image each, under its prompt and perturbed ones; facts are the grade."""
        graded = load_graded(self.config.grades, self.config.cache)
        count = self.config.perturbed if self.config.auxiliary else 0
        texts, prompt = graded.prompts, graded.prompt[:, None]
        if count:
            own = [graded.prompts[number] for number in graded.prompt.tolist()]
            near = Perturbations(own).near
            others = [near(text, count, self._rng(text, place)) for place, text in enumerate(own)]
            texts, prompt = numbered([text for pair in zip(own, others) for text in (pair[0], *pair[1])])
            prompt = prompt.reshape(len(own), -1)
        return RewardExamples.of(graded.images, graded.image[:, None], texts, prompt, graded.grade[:, None])

    def _rng(self, prompt: str, place: int) -> np.random.Generator:
        return numpy_generator(self.config.seed, "perturb", prompt, place)

    def loss(self, score: Tensor, facts: Tensor) -> tuple[Tensor, Metrics]:
        """See `Task`."""
        return regression(score[:, 0], facts[:, 0], self.config.temperature, self.config.auxiliary)

    def judge(
        self, scores: np.ndarray, examples: RewardExamples, rows: np.ndarray, tie: TieThreshold | None = None
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
        self.config, self.source = config, str(config.real)

    def examples(self) -> RewardExamples:
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
        graded = Grades.of(
            GradedImage(each.prompt, each.image, kind)
            for records, kind in ((real, 1.0), (generated, 0.0))
            for each in records
        )
        weight = np.where(graded.grade == 1, 1 / len(real), 1 / len(generated))
        columns = graded.image[:, None], graded.prompts, graded.prompt[:, None], graded.grade[:, None]
        return RewardExamples.of(graded.images, *columns, weight)

    def loss(self, score: Tensor, facts: Tensor) -> tuple[Tensor, Metrics]:
        """See `Task`."""
        return realism(score[:, 0, 0], facts[:, 0])

    def judge(
        self, scores: np.ndarray, examples: RewardExamples, rows: np.ndarray, tie: TieThreshold | None = None
    ) -> dict[str, Any]:
        """See `Task`."""
        real, score = examples.facts[rows, 0], scores[:, 0]
        right = (score > 0) == (real > 0.5)
        balanced = float(np.mean([right[real == kind].mean() for kind in set(real)]))
        return {"images": len(rows), "balanced accuracy": balanced, **order_of(score, real, examples.prompt[rows, 0])}
