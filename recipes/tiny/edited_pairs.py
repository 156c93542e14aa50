"""Writes pairs of pictures that differ on purpose in one place: a picture of the world, and the same one with a fault.

`python recipes/tiny/edited_pairs.py OUT.parquet [COUNT]`: the loser has a malformed, recoloured or displaced object.
Such pairs are what `palate align dpo --mask` is for.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from palate.core.seeds import numpy_generator
from palate.records.images import StoredImage
from palate.records.parquet import write_sets
from palate.records.ranked import RankedSet
from palate.world.grammar import combinations
from palate.world.renderer import malform, render_scenes, scene


def edited_pairs(path: Path, count: int = 400, seed: int = 0) -> Path:
    """Ranked sets of two pictures of seen combinations, the whole one first."""
    seen, sets = combinations(held_out=False), []
    for number in range(count):
        random = numpy_generator(seed, "edited pair", number)
        content = seen[random.integers(len(seen))]
        whole = scene(content, random)
        pictures = render_scenes([whole, malform(whole, random)[0]])
        sets.append(RankedSet(content.caption(), tuple(map(_stored, pictures.numpy())), (1, 2)))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_sets(sets, path)
    return path


def _stored(picture: np.ndarray) -> StoredImage:
    """A PNG of a picture [3, H, W] in [0, 1]."""
    buffer = io.BytesIO()
    Image.fromarray((picture * 255).round().astype(np.uint8).transpose(1, 2, 0)).save(buffer, "PNG")
    return StoredImage(buffer.getvalue())


if __name__ == "__main__":
    edited_pairs(Path(sys.argv[1]), *map(int, sys.argv[2:]))
