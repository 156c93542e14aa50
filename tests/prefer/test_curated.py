"""Images to imitate come from rankings or from a folder that somebody chose."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from palate.core.errors import InputError
from palate.prefer.curated import load_curated
from palate.records.images import StoredImage
from palate.records.parquet import write_sets
from palate.records.ranked import RankedSet


def png(folder: Path, name: str, colour: str) -> StoredImage:
    folder.mkdir(exist_ok=True)
    Image.new("RGB", (8, 8), colour).save(folder / name)
    return StoredImage(path=folder / name)


def chosen(folder: Path, *rows: dict[str, object]) -> Path:
    (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_of_rankings_the_best_are_taken_once(tmp_path: Path) -> None:
    red, blue, green = (png(tmp_path, f"{name}.png", name) for name in ("red", "blue", "green"))
    sets = [
        RankedSet("p", (red, blue), (1, 2)),
        RankedSet("p", (green, red), (2, 1)),
        RankedSet("q", (green, blue), (1, 1)),  # nobody knows which of these is worth imitating
    ]
    write_sets(sets, tmp_path / "sets.parquet")
    (best,) = load_curated(tmp_path / "sets.parquet")
    assert (best.prompt, best.grade, best.image.digest()) == ("p", 1.0, red.digest())


def test_of_a_folder_with_prompts_all_are_taken(tmp_path: Path) -> None:
    for name in ("red", "blue"):
        png(tmp_path, f"{name}.png", name)
    rows = [{"file_name": f"{name}.png", "prompt": name, "teacher:appeal": 0.9} for name in ("red", "blue")]
    assert sorted(each.prompt for each in load_curated(chosen(tmp_path, *rows))) == ["blue", "red"]


def test_a_folder_of_pairs_is_rankings(tmp_path: Path) -> None:
    for name in ("red", "blue"):
        png(tmp_path, f"{name}.png", name)
    row = {"prompt": "p", "preferred": "red.png", "rejected": "blue.png"}
    assert [each.image.path for each in load_curated(chosen(tmp_path, row))] == [tmp_path / "red.png"]


def test_ties_alone_have_none_to_imitate(tmp_path: Path) -> None:
    images = png(tmp_path, "red.png", "red"), png(tmp_path, "blue.png", "blue")
    write_sets([RankedSet("p", images, (1, 1)), RankedSet("q", images)], tmp_path / "sets.parquet")
    with pytest.raises(InputError, match="none to imitate"):
        load_curated(tmp_path / "sets.parquet")
