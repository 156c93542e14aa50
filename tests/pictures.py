"""Small encoded pictures, sound and broken, for tests of whatever reads images."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from palate.records.images import StoredImage


def encoded(colour: str = "red", size: tuple[int, int] = (8, 8), kind: str = "PNG") -> bytes:
    """A picture of one colour."""
    data = io.BytesIO()
    Image.new("RGB", size, colour).save(data, kind)
    return data.getvalue()


def stored(colour: str = "red", size: tuple[int, int] = (8, 8)) -> StoredImage:
    """The same as a `StoredImage`."""
    return StoredImage(data=encoded(colour, size))


def image_folder(folder: Path, prompts: Sequence[str], size: tuple[int, int] = (64, 64)) -> Path:
    """A folder like that of `palate generate`, with a picture per given prompt; equal prompts are images of one."""
    colours, rows = ("red", "green", "blue", "yellow", "purple", "white"), []
    distinct = list(dict.fromkeys(prompts))
    for number, prompt in enumerate(prompts):
        name, index = f"images/{number}.png", prompts[:number].count(prompt)
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(encoded(colours[number % 6], size))
        row = {"file_name": name, "prompt": prompt, "seed": number, "model": "some-model"}
        rows.append(row | {"prompt_index": distinct.index(prompt), "image_index": index})
    (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder
