"""The images that a study accepts from folders and tables, and their sizes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from collect.database import noise, rows, small_config
from collect.web import screens, site
from PIL import Image

from palate.cli.collect import run
from palate.collect.config import StudyConfig
from palate.collect.new import new_study
from palate.collect.study import open_study
from palate.core.errors import InputError

Leak = Callable[[Path, Path], None]


def folder(path: Path, prompt: str = "a cat", **first: str) -> Path:
    """Three images of a prompt; `first` changes the table's entry for the first one."""
    path.mkdir()
    lines = []
    for number in range(3):
        noise(number, path.name).save(path / f"{number}.png")
        lines.append({"file_name": f"{number}.png", "prompt": prompt, "image_index": number})
    lines[0] |= first
    (path / "metadata.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return path


def name_upwards(inside: Path, secret: Path) -> None:
    row, *others = (inside / "metadata.jsonl").read_text().splitlines()
    named = json.dumps(json.loads(row) | {"file_name": f"../{secret.name}"})
    (inside / "metadata.jsonl").write_text("\n".join([named, *others]))


def name_absolutely(inside: Path, secret: Path) -> None:
    row, *others = (inside / "metadata.jsonl").read_text().splitlines()
    named = json.dumps(json.loads(row) | {"file_name": str(secret)})
    (inside / "metadata.jsonl").write_text("\n".join([named, *others]))


def link_the_image(inside: Path, secret: Path) -> None:
    (inside / "0.png").unlink()
    (inside / "0.png").symlink_to(secret)


def link_a_folder(inside: Path, secret: Path) -> None:
    (inside / "sub").symlink_to(secret.parent)
    row, *others = (inside / "metadata.jsonl").read_text().splitlines()
    named = json.dumps(json.loads(row) | {"file_name": f"sub/{secret.name}"})
    (inside / "metadata.jsonl").write_text("\n".join([named, *others]))


@pytest.mark.parametrize("leak", [name_upwards, name_absolutely, link_the_image, link_a_folder])
def test_an_image_outside_of_its_folder_is_refused_with_its_name_or_left_out(tmp_path, leak: Leak):
    """Otherwise raters would see it, whoever wrote the table or made the link."""
    inside, secret = folder(tmp_path / "inside"), tmp_path / "secret.png"
    noise(99).save(secret)
    leak(inside, secret)
    with pytest.raises(InputError, match=r"outside of .*inside"):
        new_study(StudyConfig(out=tmp_path / "study", images=(str(inside),)))
    assert not (tmp_path / "study").exists()
    made = new_study(StudyConfig(out=tmp_path / "study", images=(str(inside),), skip_bad=True))
    assert made.counts["bad rows"] == 1 and made.counts["images"] == 2


def test_a_text_or_table_outside_of_the_folder_is_not_used_as_a_prompt(tmp_path):
    secret, inside = tmp_path / "secret.txt", tmp_path / "inside"
    secret.write_text("root:x:0:0")
    inside.mkdir()
    for number in range(2):
        noise(number).save(inside / f"{number}.png")
        (inside / f"{number}.txt").symlink_to(secret)
    with pytest.raises(InputError, match=r"0\.txt is outside"):
        new_study(StudyConfig(out=tmp_path / "study", images=(str(inside),)))
    other = folder(tmp_path / "other")
    (other / "metadata.jsonl").rename(tmp_path / "metadata.jsonl")
    (other / "metadata.jsonl").symlink_to(tmp_path / "metadata.jsonl")
    with pytest.raises(InputError, match=r"metadata\.jsonl is outside"):
        new_study(StudyConfig(out=tmp_path / "study", images=(str(other),)))


def test_links_within_a_folder_and_a_folder_that_is_a_link_are_accepted(tmp_path):
    inside = folder(tmp_path / "inside")
    (inside / "0.png").rename(inside / "real.png")
    (inside / "0.png").symlink_to("real.png")
    (tmp_path / "link").symlink_to(inside)
    made = new_study(StudyConfig(out=tmp_path / "study", images=(str(tmp_path / "link"),)))
    assert made.counts["images"] == 3


@pytest.mark.parametrize("source", ["preferences", "gold"])
@pytest.mark.parametrize("name", ["../secret.png", "link.png"])
def test_a_table_of_pairs_shows_no_image_outside_of_its_folder(tmp_path, source, name):
    pairs, secret = tmp_path / "pairs", tmp_path / "secret.png"
    pairs.mkdir()
    for each in (pairs / "a.png", secret):
        noise(len(each.name)).save(each)
    (pairs / "link.png").symlink_to(secret)
    (pairs / "metadata.csv").write_text(f"prompt,preferred,rejected\na cat,a.png,{name}\n")
    config = {"preferences": str(pairs)} if source == "preferences" else {"gold": str(pairs)}
    with pytest.raises(InputError, match=rf"{re.escape(name)}.* is outside"):
        new_study(small_config(tmp_path / "study", 2, None, **config))


def sized(path: Path, size: tuple[int, int]) -> str:
    path.mkdir()
    for number in range(2):
        noise(number, path.name, size).save(path / f"{number}.png")
    table = [{"file_name": f"{number}.png", "prompt": f"prompt {number}"} for number in range(2)]
    (path / "metadata.jsonl").write_text("\n".join(map(json.dumps, table)))
    return str(path)


@pytest.mark.parametrize(
    ("sizes", "seen", "note"),
    [
        ("fit", {(16, 12)}, "note: 2 images are as small as the smallest beside them"),
        ("keep", {(16, 12), (24, 24)}, "note: 2 screens have images of several sizes"),
    ],
)
def test_images_of_several_sizes_are_fitted_or_kept_and_counted(tmp_path, capsys, sizes, seen, note):
    images = [sized(tmp_path / "small", (16, 12)), sized(tmp_path / "large", (24, 24))]
    out = tmp_path / "study"
    assert run(["new", "--images", *images, "--out", str(out), "--sizes", sizes]) == 0
    said = capsys.readouterr().out
    assert note in said and "2 items with images of several sizes" in said
    study = open_study(out)
    assert {tuple(row) for row in rows(study, "SELECT width, height FROM image")} == seen
    for file, width, height in rows(study, "SELECT file, width, height FROM image"):
        with Image.open(out / file) as picture:
            assert picture.size == (width, height)
    study.close()


def test_nothing_is_reported_on_sizes_where_all_are_equal(tmp_path, capsys):
    images = [sized(tmp_path / name, (16, 12)) for name in ("one", "two")]
    run(["new", "--images", *images, "--out", str(tmp_path / "study")])
    assert "note" not in capsys.readouterr().out and "size" not in (tmp_path / "study" / "summary.json").read_text()


def test_a_screen_states_the_size_that_each_image_keeps(tmp_path):
    images = (sized(tmp_path / "small", (16, 12)), sized(tmp_path / "large", (24, 24)))
    with site(tmp_path / "study", images=images, sizes="keep") as made:
        (first, *_) = screens(made.rater("a"))
        assert {(each["width"], each["height"]) for each in first["images"]} == {(16, 12), (24, 24)}
