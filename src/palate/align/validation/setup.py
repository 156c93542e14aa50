"""Prepares validation before training: checks its inputs early, and encodes its prompts and held-out images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from palate.align.config import AlignConfig
from palate.align.encoders import Encoders
from palate.align.examples import Examples
from palate.align.prepare import Needed, Prepared, buckets_of, grid_of, prepare_cached
from palate.align.validation.best import Criterion
from palate.align.validation.held_out import chosen_rows
from palate.align.validation.samples import SHOWN
from palate.core.cache_folder import default_root, texts_digest
from palate.core.errors import InputError
from palate.core.progress import note
from palate.core.runs import RunFolder
from palate.generate.image_plan import PlannedImage, plan_images
from palate.generate.prompts import load_prompts
from palate.models.conditioning import Conditioning
from palate.models.families import adapter_of, sizes_of
from palate.models.prompt_length import cut_off, note_cut_off, text_limits
from palate.models.source import ModelSource
from palate.score.base import Scorer, try_scorer
from palate.score.load import fingerprints, load_scorer, may_train
from palate.score.within_prompt import refuse_comparing
from palate.training.accelerator import compute_dtype

if TYPE_CHECKING:
    from accelerate import Accelerator


@dataclass(frozen=True, eq=False)
class ValidationInputs:
    """What a run is validated on.

    Attributes:
        prompts: the validation prompts; empty without any.
        items: their images.
        scorers: the scorers of the images.
        examples: the held-out examples, if there are any.
        rows: those that are measured [N].
        criterion: by what the best model is chosen.
    """

    prompts: Sequence[str]
    items: Sequence[PlannedImage]
    scorers: Sequence[Scorer]
    examples: Examples | None
    rows: np.ndarray
    criterion: Criterion

    @classmethod
    def of(
        cls, config: AlignConfig, source: ModelSource, held_out: Examples | None, accelerator: Accelerator
    ) -> ValidationInputs:
        """The inputs that a configuration names.

        Args:
            config: the configuration of the run.
            source: the model.
            held_out: the held-out examples, if there are any.
            accelerator: the device.

        Raises:
            InputError: there is no such prompt set or scorer, a scorer cannot read such images, or the model draws no
                images from prompts.
        """
        prompts: list[str] = []
        if config.validation_prompts:
            if not adapter_of(source).draws_from_prompt:
                fix = "leave validation_prompts out, and give held_out"
                raise InputError(f"{config.model} changes another model's images and draws none from a prompt; {fix}")
            prompts = load_prompts(config.validation_prompts, config.validation_limit)
        scorers = [load_scorer(spec, str(accelerator.device)) for spec in dict.fromkeys(config.scorer)]
        refuse_comparing(scorers, "validation compares the mean scores of steps")
        side = validation_size(config, source)
        for scorer in scorers:
            try_scorer(scorer, (side, side), prompts[0])
        items = plan_images(prompts, config.validation_images, config.validation_seed)
        rows = np.empty(0, int) if held_out is None else chosen_rows(held_out, config.held_out_limit)
        return cls(prompts, items, scorers, held_out, rows, _criterion(scorers))

    def digests(self) -> dict[str, str]:
        """Digests of what the configuration only names, as inputs of the run."""
        found = fingerprints(self.scorers)
        if self.prompts:
            found["validation prompts"] = texts_digest(self.prompts)
        if self.examples is not None:
            found["held out"] = self.examples.digest()
        return found

    def note(self, config: AlignConfig, source: ModelSource, examples: Examples) -> None:
        """Prints what a user should know about the inputs; `examples` are those of training."""
        note_cut_off(cut_off(self.prompts, text_limits(source)), f"{config.model} in validation")
        both = set(examples.prompts[1:]) & set(self.examples.prompts[1:] if self.examples else ())
        if both:
            note(f"{len(both)} of the held-out prompts are also trained on, so held-out numbers flatter the model")
        if judges := [scorer.name for scorer in self.scorers if not may_train(scorer.name)]:
            note(f"{judges[0]} judges results and gives no training signal, so it does not choose model/best")

    def prepare(
        self, config: AlignConfig, source: ModelSource, run: RunFolder, accelerator: Accelerator
    ) -> ReadyInputs:
        """Encodes the validation prompts, and the held-out images and prompts, which are kept in the cache.

        Raises:
            InputError: an image cannot be decoded; the message names it.
            NotFiniteError: an embedding or a latent overflows; the message names the prompt or the image.
        """
        dtype = compute_dtype(config.precision, accelerator.device.type)
        encoders, encoded, prepared = Encoders(source, accelerator.device, dtype=dtype), {}, None
        with run.timer("encode"):
            if self.prompts:
                found = encoders.conditioning(["", *self.prompts])
                encoded = {text or None: found[row : row + 1] for row, text in enumerate(("", *self.prompts))}
            if self.examples:
                root, buckets = (
                    (config.cache or default_root()) / "align",
                    buckets_of(grid_of(config, source), self.examples),
                )
                about = {"model": config.model, "data": config.held_out, "pixels": buckets.grid.pixels}
                needed = Needed.of(self.examples, buckets, self.rows)
                prepared = prepare_cached(encoders, self.examples, buckets, needed, root, about, accelerator)
        return ReadyInputs(self, encoded, prepared)

    def shown(self) -> Mapping[str, str]:
        """The prompts whose images are kept, by the names of the images' files."""
        first = [item for item in self.items if item.image_index == 0][:SHOWN]
        return {item.file_name.rpartition("/")[2]: item.prompt for item in first}


@dataclass(frozen=True, eq=False)
class ReadyInputs:
    """What a run is validated on, encoded.

    Attributes:
        inputs: what it is validated on.
        encoded: the conditioning [1] of each validation prompt, and of None, which means no prompt; on the CPU.
        prepared: the latents and conditioning of the held-out examples, if there are any.
    """

    inputs: ValidationInputs
    encoded: Mapping[str | None, Conditioning]
    prepared: Prepared | None


def validation_size(config: AlignConfig, source: ModelSource) -> int:
    """Width and height of validation images in pixels: the highest resolution of the run."""
    return max(config.resolutions(sizes_of(source).native))


def _criterion(scorers: Sequence[Scorer]) -> Criterion:
    """The first scorer that may give a training signal, as choosing a model does; otherwise held-out feedback."""
    chosen = next((scorer for scorer in scorers if may_train(scorer.name)), None)
    return Criterion(chosen.name, chosen.higher_is_better) if chosen else Criterion()
