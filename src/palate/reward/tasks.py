"""The tasks: the examples and the loss of each kind of reward, one short class each."""

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
    """A kind of reward training.

    Attributes:
        name: the task's name in the run and in `reward.json`.
        output: the kind of the reward's numbers.
        source: the feedback, as the user gave it.
    """

    name: str
    source: str
    output: Output = "logit"

    @abstractmethod
    def examples(self) -> RewardExamples:
        """All examples; raises InputError if the source cannot be used."""

    @abstractmethod
    def loss(self, score: Tensor, facts: Tensor) -> tuple[Tensor, Metrics]:
        """The loss [B] and metrics [B] of scores [B, n, m] of n images with m prompts, and the examples' facts."""

    @abstractmethod
    def judge(
        self, scores: np.ndarray, examples: RewardExamples, rows: np.ndarray, tie: TieThreshold | None = None
    ) -> dict[str, Any]:
        """The quality of the reward by its scores [R, n] of some of the examples [R], in plain JSON.

        Args:
            scores: the scores.
            examples: all examples.
            rows: the numbers of the scored examples.
            tie: the threshold of ties, if the task has ties; the best one on these examples when left out.
        """

    def tie_threshold(self, scores: np.ndarray, rows: np.ndarray) -> float | None:
        """The best threshold of ties for scores [R, n] of some of the examples; None without any ties."""
        return None


class BradleyTerry(Task):
    """Learns from rankings; each prompt has the same weight, for any number of pairs.

    Reference for the weights: Kirstain et al. 2023 (arXiv:2305.01569), section 3.
    """

    name = "bradley_terry"

    def __init__(self, config: BradleyTerryConfig) -> None:
        self.config, self.source = config, config.preferences

    def examples(self) -> RewardExamples:
        """One example per ranked set; facts are the share of raters that prefer i to j [n x n], or the ranks [n]."""
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
    """Learns from grades (Lee et al. 2023, arXiv:2302.12192, section 3.2)."""

    name, output = "regression", "probability"

    def __init__(self, config: RegressionConfig) -> None:
        self.config, self.source = config, config.grades

    def examples(self) -> RewardExamples:
        """One example per graded image, with its prompt and perturbed ones; facts are the grade."""
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
    """Learns to distinguish real images from images that were generated from the same captions."""

    name = "discriminator"

    def __init__(self, config: DiscriminatorConfig) -> None:
        self.config, self.source = config, str(config.real)

    def examples(self) -> RewardExamples:
        """One example per image; facts are 1 for a real one, 0 for a generated one; both kinds have equal weight."""
        real = read_image_folder(self.config.real, Tally())
        generated = [each for folder in self.config.generated for each in read_image_folder(folder, Tally())]
        captions = {each.prompt for each in real}
        strange = next((each.prompt for each in generated if each.prompt not in captions), None)
        if strange is not None:
            fix = f"generate from {self.config.real}, so that a caption alone does not show which images are real"
            raise InputError(f"no real image has the caption {strange!r} of a generated one; {fix}")
        if {each.image.digest() for each in real} & {each.image.digest() for each in generated}:
            raise InputError("an image is both real and generated; give folders that have no image in common")
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
