"""Puts the sample set of simulated comparisons into the package.

Its images lose only detail that the autoencoder cannot reproduce: colours are rounded to steps of 4 of 255 and saved as
lossless WebP. Fine-tuning would learn the look of half-resolution chroma, which lossy WebP has (docs/lab-notes.md).
"""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
from common import SHIPPED, WORK
from PIL import Image

from palate.prefer.load import load_preferences
from palate.records.columns import Rankings
from palate.records.images import StoredImage
from palate.records.parquet import write_sets

SETS, STEP = 288, 4


def small(image: StoredImage) -> StoredImage:
    colours = np.asarray(image.open(), dtype=np.float32)
    stepped = (np.round(colours / STEP) * STEP).clip(0, 255).astype(np.uint8)
    data = io.BytesIO()
    Image.fromarray(stepped).save(data, "webp", lossless=True, quality=100, method=6)
    return StoredImage(data=data.getvalue())


def main() -> None:
    sets = load_preferences(str(WORK / "preferences"))[-SETS:]
    path = SHIPPED / "tiny-preferences.parquet"
    write_sets([replace(s, images=tuple(small(i) for i in s.images)) for s in sets], path)
    comparisons = sum(len(s.images) * (len(s.images) - 1) // 2 for s in sets)
    strict = len(Rankings.of(sets).pairs()[0])
    print(
        f"{path}: {len(sets)} sets, {comparisons} comparisons, {strict} strict, {path.stat().st_size / 2**20:.1f} MiB"
    )


if __name__ == "__main__":
    main()
