"""The gallery of a report: the choice of pairs, and their images as data URIs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from palate.core.statistics import contest
from palate.evaluate.compare import Comparison, Paired
from palate.report.number_format import writer
from palate.report.thumbnails import data_uri, thumbnail

MAX_PAIRS = 60
CHANGES = {1.0: "better", 0.0: "worse", 0.5: "same"}


@dataclass(frozen=True)
class SidePicture:
    """One model's image of a pair; `right` is whether the judge finds it faithful, None where it only scores."""

    side: str
    uri: str
    width: int
    height: int
    right: bool | None
    note: str


@dataclass(frozen=True)
class ShownPair:
    """The two images of one prompt and seed; `change` is better, worse or same, by `verdict_changes`."""

    prompt: str
    image: int  # 1-based place among the prompt's images
    change: str
    base: SidePicture
    aligned: SidePicture


def verdict_changes(comparison: Comparison) -> np.ndarray:
    """[P, N] of 1 better, 0 worse, 0.5 same: by faithfulness where the judge reads it, else by its preference."""
    values = comparison.judged.measures.get("faithful", comparison.judged.preference)
    return contest(values.base, values.aligned)


def chosen_pairs(prompts: int, images: int, limit: int = MAX_PAIRS) -> list[tuple[int, int]]:
    """The (prompt, image) indices to show, not chosen by result: evenly spaced prompts, first seeds first.

    Every prompt's first image, then every prompt's second image, until `limit`; if not all prompts fit in the last
    round, it takes evenly spaced ones. The result is in the order of the prompts.
    """
    chosen: list[tuple[int, int]] = []
    for k in range(images):
        count = min(prompts, limit - len(chosen))
        chosen += [(i * prompts // count, k) for i in range(count)]
    return sorted(chosen)


def pair_gallery(comparison: Comparison) -> list[ShownPair]:
    """The pairs that the report shows, with their thumbnails."""
    changes = verdict_changes(comparison)
    return [
        ShownPair(
            comparison.prompts[p],
            k + 1,
            CHANGES[float(changes[p, k])],
            _picture(comparison, "base", p, k),
            _picture(comparison, "aligned", p, k),
        )
        for p, k in chosen_pairs(*changes.shape)
    ]


def _picture(comparison: Comparison, side: str, p: int, k: int) -> SidePicture:
    image = thumbnail(comparison.images[side][p][k].open())
    readings = {m: float(getattr(v, side)[p, k]) for m, v in comparison.judged.measures.items()}
    right = bool(readings["faithful"]) if "faithful" in readings else None
    shown = next((m for m in ("score", "appeal") if m in readings), None)
    note = f"{shown} {_writer(comparison.judged.measures[shown])(readings[shown])}" if shown else ""
    return SidePicture(side, data_uri(image), *image.size, right, note)


def _writer(values: Paired) -> Callable[[float], str]:
    """A function that writes all values of a measure with the same number of decimals."""
    return writer([*values.base.ravel(), *values.aligned.ravel()], figures=2)
