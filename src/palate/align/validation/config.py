"""The settings of validation. Imports nothing heavy, so that `--help` answers at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from palate.training.config import TrainingConfig, below_zero, not_above_zero

TIMES = 10
"""Validations of a run for which no interval is named."""


@dataclass(frozen=True, kw_only=True)
class ValidatedConfig(TrainingConfig):
    """The settings of validation, which never changes what is trained. Only `held_out` does: it is not trained on."""

    validate_every: int | None = None
    """Steps between validations. When left out, ten validations per run if there are validation prompts or held-out
    feedback, and otherwise none. The base model is validated first, and the model of the last step last."""
    validation_prompts: str | None = None
    """Prompts of which images are drawn at each validation, always from the same seeds: any prompt set that `palate
    generate` takes."""
    validation_limit: int | None = 500
    """Largest number of validation prompts; the first ones of the set are taken. 500 as in Wallace et al. 2023
    (Diffusion-DPO), who watched the median PickScore of 500 prompts."""
    validation_images: int = 1
    """Images of each validation prompt."""
    validation_seed: int = 0
    """Seed of the validation images: they are those of `palate generate` with this seed."""
    validation_steps: int | None = None
    """Denoising steps of the validation images; the model's own default when left out."""
    validation_guidance: float | None = None
    """Guidance scale of the validation images; the model's own default when left out."""
    validation_batch: int = 16
    """Validation images that are drawn at once; changes memory and speed, not the images."""
    scorer: tuple[str, ...] = ()
    """Scorers of the validation images, such as clip:<model> or reward:<run>: any that `palate score` takes. The model
    with the best median of the first one is kept in `model/best`."""
    held_out: str | None = None
    """Feedback that is not trained on, and on which the errors are measured at each validation: a share of the
    preferences, such as 0.1, by prompt (the same prompts for every seed and method), or other preferences."""
    held_out_limit: int | None = 500
    """Largest number of held-out examples that are measured; the standard error of an accuracy is then about two
    percentage points."""

    def problems(self) -> Iterator[str]:
        """See `TrainingConfig.problems`."""
        yield from super().problems()
        yield from not_above_zero(self, "validation_images", "validation_batch")
        names = ("validate_every", "validation_limit", "validation_steps", "held_out_limit")
        yield from not_above_zero(self, *names, optional=True)
        if self.validation_guidance is not None:
            yield from below_zero(self, "validation_guidance")
        share = held_out_share(self.held_out)
        if share is not None and not 0 < share < 1:
            yield f"held_out must be a share above 0 and below 1, or preferences, not {self.held_out}"
        if self.scorer and not self.validation_prompts:
            yield "scorer scores images of validation prompts; name some with validation_prompts, or leave scorer out"
        if self.validate_every and not self.validated:
            yield "validate_every needs something to validate: validation_prompts or held_out"

    @property
    def validated(self) -> bool:
        """Whether there is something to validate."""
        return bool(self.validation_prompts or self.held_out)

    @property
    def every(self) -> int:
        """Steps between validations."""
        return self.validate_every or max(1, self.steps // TIMES)


def held_out_share(held_out: str | None) -> float | None:
    """The share that a value of `held_out` names; None if it names preferences, or is None."""
    try:
        return None if held_out is None else float(held_out)
    except ValueError:
        return None
