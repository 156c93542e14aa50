"""An item with the same picture twice, in two files or from two systems, is not a comparison."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from collect.test_export import drawn, export, ranks_of, studied, summary, vote
from PIL import Image

from palate.prefer.load import load_preferences


def same_pixels(folder: Path, other: Path, name: str) -> None:
    """Replaces a picture by that of another folder, encoded differently."""
    before = (other / name).read_bytes()
    with Image.open(other / name) as image:
        image.save(folder / name, compress_level=0)
    assert (folder / name).read_bytes() != before


@pytest.mark.parametrize("kind", ["palate", "pickapic", "hpdv2", "label-studio"])
def test_an_item_that_shows_one_picture_twice_is_left_out_and_counted(tmp_path: Path, kind: Any) -> None:
    folders = [drawn(tmp_path / name, name, "xyz") for name in "ab"]
    same_pixels(folders[0], folders[1], "1.png")
    with studied(tmp_path, ["ann"], images=[f"{folder.name}={folder}" for folder in folders]) as study:
        vote(study, 1, lambda *_: 0)
        run = export(study, format=kind)
    assert ranks_of(run) == {"x": (1, 2), "z": (1, 2)}
    assert summary(run)["items that show one picture twice"] == 1


def test_a_ranking_with_one_picture_twice_is_left_out_and_counted(tmp_path: Path) -> None:
    folders = [drawn(tmp_path / name, name, "xy") for name in "abc"]
    same_pixels(folders[2], folders[0], "0.png")
    images = [f"{folder.name}={folder}" for folder in folders]
    with studied(tmp_path, ["ann"], images=images, task="ranking", n=3) as study:
        vote(study, 1, lambda *_: (1, 2, 3))
        run = export(study)
    assert ranks_of(run) == {"y": (1, 2, 3)}
    assert summary(run)["items that show one picture twice"] == 1


def test_ratings_of_one_picture_of_two_systems_are_those_of_one_image(tmp_path: Path) -> None:
    folders = [drawn(tmp_path / name, name, ["x", "x"]) for name in "ab"]
    same_pixels(folders[0], folders[1], "1.png")
    with studied(
        tmp_path, ["ann"], images=[f"{folder.name}={folder}" for folder in folders], task="rating", n=1
    ) as study:
        stars = iter((5, 2, 4, 3))
        vote(study, 1, lambda *_: next(stars))
        run = export(study)
    (only,) = load_preferences(run)
    assert len(only.images) == len({image.digest() for image in only.images}) == 3
    assert summary(run)["images that are the same as another of their prompt"] == 1
