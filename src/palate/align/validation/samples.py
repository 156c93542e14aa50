"""Images of the validation prompts, always from the same seeds, and their scores."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from palate.core.files import write_atomic
from palate.core.finite import NotFiniteError
from palate.core.statistics import mean, median
from palate.generate.image_plan import PlannedImage
from palate.generate.sampler import Sampler
from palate.score.base import Scorer, score_images

if TYPE_CHECKING:
    from accelerate import Accelerator
    from PIL import Image

SHOWN = 8
"""Images of each validation that are kept as files, and shown in the report: the first one of the first prompts."""


@dataclass(frozen=True, eq=False)
class Samples:
    """Draws and scores the validation images.

    Attributes:
        items: the images, with their prompts and seeds; the same number for each prompt.
        prompts: the number of prompts.
        sampler: draws with the network's present weights.
        scorers: what the images are scored by.
        batch: images drawn at once.
        accelerator: the device and the processes, which share the work.
        folder: the images of step N are kept in `<folder>/step-N`.
    """

    items: Sequence[PlannedImage]
    prompts: int
    sampler: Sampler
    scorers: Sequence[Scorer]
    batch: int
    accelerator: Accelerator
    folder: Path

    def draw(self, done: int, stopped: Callable[[], bool], advance: Callable[[int], None]) -> dict[str, Any] | None:
        """Draws all images after `done` steps.

        Args:
            done: number of steps that are done.
            stopped: whether to stop; asked before each batch, by all processes equally often.
            advance: called with the number of images that were drawn.

        Returns:
            `images`, the number of images that were drawn; `failed`, how many could not be, because the network
            overflows; and `scores`: for each scorer `median` and `mean` with the ends of their intervals, over the
            images that have a score. None if it was stopped.
        """
        processes, own = self.accelerator.num_processes, self.accelerator.process_index
        scores = torch.zeros(len(self.items), len(self.scorers) + 1, dtype=torch.float64)  # the last column: failed
        batches = [range(at, min(at + self.batch, len(self.items))) for at in range(0, len(self.items), self.batch)]
        for first in range(0, len(batches), processes):
            if stopped():
                return None
            for places in batches[first + own : first + own + 1]:
                scores[places.start : places.stop] = self._draw_batch(done, [self.items[place] for place in places])
            advance(sum(map(len, batches[first : first + processes])))
        if processes > 1:
            shared: Any = self.accelerator.reduce(scores.float().to(self.accelerator.device), "sum")
            scores = shared.cpu().double()
        failed = scores[:, -1].bool()
        kept = (
            scores[:, :-1]
            .masked_fill(failed[:, None], torch.nan)
            .T.reshape(len(self.scorers), self.prompts, len(self.items) // self.prompts)
        )
        summaries = {scorer.name: score_summary(values.numpy()) for scorer, values in zip(self.scorers, kept)}
        return {"images": len(self.items), "failed": int(failed.sum()), "scores": summaries}

    def _draw_batch(self, done: int, items: Sequence[PlannedImage]) -> torch.Tensor:
        """The scores of some images [B, S + 1]; the last column is 1 for images that could not be drawn."""
        prompts = [item.prompt for item in items]
        rows = torch.zeros(len(items), len(self.scorers) + 1, dtype=torch.float64)
        try:
            images = [each.image for each in self.sampler.draw(prompts, [item.seed for item in items])]
        except NotFiniteError:  # a diverged model; training itself says so where its own numbers are not finite
            rows[:, -1] = 1
            return rows
        for item, image in zip(items, images):
            if item.image_index == 0 and item.prompt_index < SHOWN:
                write_atomic(self.folder / f"step-{done}" / Path(item.file_name).name, _png(image))
        for column, scorer in enumerate(self.scorers):
            rows[:, column] = torch.tensor(score_images(scorer, images, prompts), dtype=torch.float64)
        return rows


def score_summary(scores: np.ndarray) -> Mapping[str, float | None]:
    """The median and the mean of scores [P, N] with the ends of their 95% intervals; prompts with NaN are left out."""
    whole = scores[np.isfinite(scores).all(1)]
    names = [f"{name}{end}" for name in ("median", "mean") for end in ("", "_low", "_high")]
    if not len(whole):
        return dict.fromkeys(names)
    ends = [end for each in (median(whole), mean(whole)) for end in (each.value, each.low, each.high)]
    return {name: end if np.isfinite(end) else None for name, end in zip(names, ends)}


def _png(image: Image.Image) -> bytes:
    data = io.BytesIO()
    image.save(data, "png")
    return data.getvalue()
