"""Writes a folder of the corpus's pictures, which take the place of photographs: the real images of a discriminator.

`python recipes/tiny/photographs.py OUT [COUNT] [FIRST]` writes clean and degraded pictures with their captions, right
and wrong ones; `palate score`, `filter` and `caption` then select the good pictures and caption them again.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from palate.world.corpus import Corpus

SEED = 20240601


def photographs(folder: Path, count: int, first: int = 30_000_000) -> Path:
    """An ImageFolder of pictures that no model was trained on."""
    corpus = Corpus(SEED, faulty=True)
    entries = [corpus.entry(first + number) for number in range(count)]
    (folder / "images").mkdir(parents=True, exist_ok=True)
    rows = []
    for number, (entry, image) in enumerate(zip(entries, corpus.images(entries), strict=True)):
        name = f"images/{number:05}.png"
        pixels = (image * 255).round().byte().permute(1, 2, 0).numpy().astype(np.uint8)
        Image.fromarray(pixels).save(folder / name)
        rows.append(json.dumps({"file_name": name, "prompt": entry.caption}))
    (folder / "metadata.jsonl").write_text("\n".join(rows) + "\n")
    return folder


if __name__ == "__main__":
    photographs(Path(sys.argv[1]), *map(int, sys.argv[2:]))
