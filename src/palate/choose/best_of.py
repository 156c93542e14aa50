"""`palate generate --best-of N`: each image is the best of N candidates by a scorer."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from palate.generate.image_plan import PlannedImage
from palate.generate.prompts import load_prompts
from palate.generate.stage import Drawn, GenerateConfig, Samplers, generate
from palate.models.families import sizes_of
from palate.models.source import resolve

if TYPE_CHECKING:
    from palate.generate.sampler import Sampled, Sampler
    from palate.score.base import Scorer


@dataclass(frozen=True, kw_only=True)
class BestOfConfig(GenerateConfig):
    """The settings of `palate generate`."""

    best_of: int = 1
    """Number of candidates for each image, each with its own seed; only the best is kept. 1 generates without a
    choice."""
    scorer: str | None = None
    """Scorer that decides which candidate is best: clip:<model>, image:<measure>, implicit:<run>, reward:<run> or
    python:<module>:<factory>."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.best_of < 1:
            raise ValueError(f"best_of must be above zero, not {self.best_of}")
        if self.best_of > 1 and not self.scorer:
            raise ValueError(f"best_of {self.best_of} needs a scorer to choose by, such as clip:<model>")
        if self.best_of == 1 and self.scorer:
            raise ValueError(f"scorer {self.scorer!r} needs candidates to choose from; give best_of 2 or more")

    def plain(self) -> GenerateConfig:
        """The same settings without those of the choice."""
        return GenerateConfig(**{each.name: getattr(self, each.name) for each in dataclasses.fields(GenerateConfig)})


@dataclass(frozen=True)
class BestOf:
    """Generates the best of n candidates; a `generate.stage.Draw`.

    Candidate 0 is the image that plain generation makes, up to float rounding, and of equal scores the first wins, so
    no image has a worse score than without the choice. Batches contain candidates of one image only, so that on a CPU
    no bit of an image depends on the other images, on interruptions, or on a `batch` of at least n; a smaller batch
    changes images by float rounding, as in plain generation.

    Args:
        scorer: the scorer that chooses; it says whether higher or lower scores are better.
        n: number of candidates for each image.
    """

    scorer: Scorer
    n: int

    def __call__(self, sampler: Sampler, items: Sequence[PlannedImage], batch: int) -> Iterator[list[Drawn]]:
        """Generates items one by one, at most `batch` candidates at once."""
        for item in items:
            yield [self.draw(sampler, item, batch)]

    def draw(self, sampler: Sampler, item: PlannedImage, batch: int) -> Drawn:
        """The best candidate of one item, with `candidate_scores` [n] in the order of the candidates.

        A candidate that a safety checker has blanked has no score, and is chosen only if all candidates are blanked.

        Raises:
            InputError: a score is not finite.
        """
        from palate.score.base import require_score
        from palate.score.within_prompt import score_in_batches

        candidates = [item.candidate(number) for number in range(self.n)]
        seeds = [candidate.seed for candidate in candidates]
        found: list[Sampled] = []
        for start in range(0, self.n, batch):
            some = seeds[start : start + batch]
            found += sampler.draw([item.prompt] * len(some), some)
        shown = [each.image for each in found if not each.blocked]
        numbers = iter(score_in_batches(self.scorer, shown, [item.prompt] * len(shown), batch))
        scores = [None if each.blocked else next(numbers) for each in found]
        for number, value in enumerate(scores):
            if value is not None:
                require_score(self.scorer.name, value, f"candidate {number} of {item.file_name}")
        sign = 1 if self.scorer.higher_is_better else -1
        known = [(sign * value, -number) for number, value in enumerate(scores) if value is not None]
        best = -max(known)[1] if known else 0
        columns = {"score": scores[best], "candidate": best, "candidate_scores": scores}
        return Drawn(candidates[best], found[best], columns)


def generate_best(config: BestOfConfig, samplers: Samplers | None = None) -> Path:
    """Like `generate`, but each image is the best of `best_of` candidates; without a scorer it is `generate` itself.

    Args:
        config: the settings.
        samplers: see `generate`.

    Returns:
        The run folder. Each line of `metadata.jsonl` also has `score`, the number of the `candidate` (from 0), and
        `candidate_scores`; its `seed` is the candidate's.

    Raises:
        InputError: see `generate`; or there is no such scorer, it cannot read the model's images, or it belongs to a
            judge of results, which must not choose images (all raised before anything is written); or a score is not
            finite.
        RunFolderError: the folder contains another run.
    """
    if config.scorer is None:
        return generate(config.plain(), samplers=samplers)

    from palate.score.base import note_prompts_cut_off, try_scorer
    from palate.score.load import fingerprints, load_scorer, refuse_judge

    refuse_judge(config.scorer, "choose")
    scorer, source = load_scorer(config.scorer, config.device), resolve(config.model)
    source.check()
    prompts, side = load_prompts(config.prompts, config.limit), sizes_of(source).native
    try_scorer(scorer, (config.width or side, config.height or side), prompts[0])
    note_prompts_cut_off([scorer], prompts)
    return generate(config, BestOf(scorer, config.best_of), fingerprints([scorer]), samplers)
