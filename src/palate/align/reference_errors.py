"""The base model's error on each view and draw: one number each, computed once for all epochs and runs.

A preference loss reads nothing else of the reference. Randomness is keyed by the ranked set and the draw, so the
reference's error is a constant: it is computed before training, in large batches without gradients, and cached. No
second network is in memory during training, and a later run on the same data and base model (with another beta or
another method) starts at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from palate.align.batches import Batches
from palate.core.cache_folder import Entry, array_digest, digest, texts_digest
from palate.core.finite import require_finite
from palate.core.progress import bar
from palate.models.denoiser import Denoiser
from palate.training.row_cache import cached_rows

if TYPE_CHECKING:
    from accelerate import Accelerator

REFERENCE_AT_ONCE = 4
"""Views per example of a micro-batch: a forward pass without gradients needs a fraction of a training step's memory."""


def measure_errors(
    denoiser: Denoiser,
    batches: Batches,
    wanted: Sequence[np.ndarray],
    batch: int,
    identity: str,
    root: Path,
    about: Mapping[str, object],
    accelerator: Accelerator,
    dtype: torch.dtype = torch.float32,
    title: str = "reference errors",
) -> Tensor:
    """The errors [D, V] of a network with its present weights, at draws 0 .. D-1 of the wanted views, in float32.

    Args:
        denoiser: the model.
        batches: makes the network's inputs.
        wanted: the views to measure at each draw, D arrays; the errors of other views are zero, or what the cache has.
        batch: views per forward pass.
        identity: a digest of the network's weights and schedule, the latents and the embeddings.
        root: folder of the cache.
        about: the model and data, which `palate cache` lists.
        accelerator: the device and the processes.
        dtype: the dtype in which the network computes.
        title: title of the progress bar.

    Raises:
        NotFiniteError: an error is NaN or infinite.
    """
    examples, draws = batches.examples, batches.draws
    views = [array_digest(each) for each in (examples.prompt, examples.image, examples.key)]
    masked = [] if batches.mask is None else [batches.mask]
    whole = digest(identity, str(dtype), views, texts_digest(examples.keys), draws.seed, draws.dropout, *masked)
    entry = Entry(root / f"errors-{whole}", {"kind": "errors", **about})
    every = np.arange(len(examples.image))

    @torch.no_grad()
    def compute(draw: int, rows: np.ndarray) -> dict[str, Tensor]:
        error = batches.errors(denoiser, rows, np.full(len(rows), draw), accelerator.device, dtype)
        fix = "give --precision fp32, or another model, as the network overflows"
        require_finite(f"the {title} of the model at draw {draw}", error, fix=fix)
        return {"error": error}

    def cached(draw: int, rows: np.ndarray) -> Tensor:
        if not len(rows):  # a short run may visit a ranked set at its second draw and not at its first
            return torch.zeros(len(every))
        path = entry.folder / f"{draw}.safetensors"
        found = cached_rows(path, len(every), partial(compute, draw), batch, progress, accelerator, rows).read(every)
        error = found["error"]
        assert isinstance(error, Tensor)  # one number per row
        return error

    distinct = [np.unique(each) for each in wanted]
    distinct = [rows[batches.sorted(rows)] for rows in distinct]
    with bar(title, sum(map(len, distinct))) as progress:
        return torch.stack([cached(draw, rows) for draw, rows in enumerate(distinct)])
