"""Feedback is used where it is: indexed once, again when it has changed, and never silently stale."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pictures import encoded, stored

from palate.core.errors import InputError
from palate.core.runs import RunFolder
from palate.prefer import indexing, load
from palate.prefer.curated import load_curated
from palate.prefer.formats.pickapic import schema
from palate.prefer.grades import load_graded
from palate.prefer.importing import ImportConfig, import_preferences
from palate.prefer.load import load_preferences, load_rankings
from palate.records.columns import Rankings
from palate.records.parquet import write_sets
from palate.records.ranked import RankedSet

COLOURS = ("red", "green", "blue", "yellow", "white", "black")


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the parts that are read through a reader."""
    found: list[str] = []
    iterate = load.iterate_format

    def watched(kind, path, tally):
        found.append(path.name)
        return iterate(kind, path, tally)

    monkeypatch.setattr(load, "iterate_format", watched)
    return found


def pick_a_pic(path: Path, rows: int, first: int = 0) -> Path:
    """Pairs of Pick-a-Pic's schema, the first image of each the better."""
    columns = {
        "caption": [f"prompt {row}" for row in range(rows)],
        "jpg_0": [encoded(COLOURS[(first + row) % 6], kind="JPEG") for row in range(rows)],
        "jpg_1": [encoded(COLOURS[(first + row + 1) % 6], (9, 9), "JPEG") for row in range(rows)],
        "label_0": [1.0] * rows,
        "label_1": [0.0] * rows,
        "has_label": [True] * rows,
        "user_id": [7] * rows,
    }
    fields = [field for field in schema() if field.name in columns]
    pq.write_table(pa.table({field.name: pa.array(columns[field.name], field.type) for field in fields}), path)
    return path


def assert_columns_of(rankings: Rankings, sets: list[RankedSet]) -> None:
    assert rankings.keys(np.arange(len(rankings))) == [each.key() for each in sets]
    for member, image in enumerate(image for each in sets for image in each.images):
        assert rankings.images[rankings.image[member]].open().tobytes() == image.open().tobytes()


def index_files(cache: Path) -> list[Path]:
    return sorted(cache.glob("index/*/index.parquet"))


def test_pick_a_pic_is_indexed_once_and_its_images_are_read_where_they_are(
    tmp_path: Path, cache: Path, reads: list[str]
) -> None:
    folder = tmp_path / "pickapic"
    folder.mkdir()
    for number in range(2):
        pick_a_pic(folder / f"train-0000{number}.parquet", 5, 2 * number)
    rankings = load_rankings(folder, cache)
    assert reads == ["train-00000.parquet", "train-00001.parquet"]
    assert_columns_of(rankings, load_preferences(folder))
    reads.clear()
    assert_columns_of(load_rankings(folder, cache), load_preferences(folder))
    assert reads == ["pickapic"]  # by `load_preferences`, which asked for the records
    for file in index_files(cache):
        table = pq.read_table(file)
        assert [image["bytes"] for row in table.column("images").to_pylist() for image in row] == [None] * 10


def test_only_the_file_that_changed_is_indexed_again(tmp_path: Path, cache: Path, reads: list[str]) -> None:
    folder = tmp_path / "pickapic"
    folder.mkdir()
    for number in range(2):
        pick_a_pic(folder / f"train-0000{number}.parquet", 5, number)
    load_rankings(folder, cache)
    reads.clear()
    pick_a_pic(folder / "train-00001.parquet", 7, 3)
    assert len(load_rankings(folder, cache)) == 12
    assert reads == ["train-00001.parquet"]
    assert len(index_files(cache)) == 2


def test_an_image_that_changed_after_it_was_indexed_is_refused_when_it_is_read(tmp_path: Path, cache: Path) -> None:
    file = pick_a_pic(tmp_path / "train.parquet", 3)
    images = load_rankings(file, cache).images
    pick_a_pic(file, 3, 1)
    with pytest.raises(InputError, match=r"jpg_0 of row 0 of .*train\.parquet has changed since it was first read"):
        images[0].read()


def pairs_folder(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    for colour in ("red", "blue"):
        (folder / f"{colour}.png").write_bytes(encoded(colour))
    (folder / "metadata.csv").write_text("prompt,preferred,rejected\na cat,red.png,blue.png\n")
    return folder


def test_a_folder_is_indexed_again_when_a_picture_of_it_is_replaced(
    tmp_path: Path, cache: Path, reads: list[str]
) -> None:
    folder = pairs_folder(tmp_path / "pairs")
    before = load_rankings(folder, cache).keys(np.array([0]))
    load_rankings(folder, cache)
    (folder / "notes.log").write_text("no part of the data")
    assert load_rankings(folder, cache).keys(np.array([0])) == before and reads == ["pairs"]
    (folder / "red.png").write_bytes(encoded("green"))
    after = load_rankings(folder, cache)
    assert after.keys(np.array([0])) != before and reads == ["pairs", "pairs"]
    assert after.images[1].open().getpixel((0, 0)) == (0, 128, 0)


def test_what_prefer_wrote_is_read_as_it_is_without_an_index(tmp_path: Path, cache: Path, reads: list[str]) -> None:
    run = import_preferences(ImportConfig(source=str(pick_a_pic(tmp_path / "p.parquet", 5)), out=tmp_path / "run"))
    assert_columns_of(load_rankings(run, cache), load_preferences(run))
    assert not index_files(cache) and reads == ["preferences.parquet"]  # once, for the records


def test_an_older_table_without_facts_is_indexed(tmp_path: Path, cache: Path) -> None:
    sets = [RankedSet("p", (stored("red"), stored("blue")), (1, 2)), RankedSet("q", (stored(), stored("white")))]
    write_sets(sets, tmp_path / "new.parquet")
    table = pq.read_table(tmp_path / "new.parquet").drop_columns(["image_facts"])
    pq.write_table(table, tmp_path / "old.parquet")
    rankings = load_rankings(tmp_path / "old.parquet", cache)
    assert_columns_of(rankings, sets)
    place = rankings.images[0].place
    assert place is not None and place[1:] == (0, "images", 0)


def test_an_import_in_place_copies_no_image_and_leaves_out_what_is_bad(tmp_path: Path, cache: Path) -> None:
    file = pick_a_pic(tmp_path / "p.parquet", 6)
    table = pq.read_table(file)
    broken = [*table.column("jpg_0").to_pylist()]
    broken[2] = b"\xff\xd8 no picture"
    pq.write_table(table.set_column(table.schema.get_field_index("jpg_0"), "jpg_0", pa.array(broken)), file)
    config = ImportConfig(source=str(file), out=tmp_path / "run", in_place=True, skip_bad=True)
    run = import_preferences(config)
    assert (RunFolder(run).finished or {})["bad rows"] == 1
    written = pq.read_table(run / "preferences.parquet")
    assert {image["bytes"] for row in written.column("images").to_pylist() for image in row} == {None}
    assert_columns_of(load_rankings(run, cache), load_preferences(run))
    assert len(load_rankings(run, cache)) == 5 and not index_files(cache)


def test_the_source_of_an_import_in_place_must_stay_as_it_is(tmp_path: Path, cache: Path) -> None:
    file = pick_a_pic(tmp_path / "p.parquet", 3)
    run = import_preferences(ImportConfig(source=str(file), out=tmp_path / "run", in_place=True))
    before = file.stat()
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns + 10**9))
    with pytest.raises(InputError, match=r"p\.parquet has changed since .*preferences\.parquet was made from it"):
        load_rankings(run, cache)
    file.unlink()
    with pytest.raises(InputError, match=r"are in .*p\.parquet, which does not exist"):
        load_rankings(run, cache)


def test_a_bad_row_is_named_with_what_leaves_it_out_and_no_index_is_left(tmp_path: Path, cache: Path) -> None:
    folder = pairs_folder(tmp_path / "pairs")
    (folder / "blue.png").write_bytes(b"")
    with pytest.raises(InputError, match=r"blue\.png is empty .*`palate prefer import --skip-bad`"):
        load_rankings(folder, cache)
    assert not index_files(cache)


def test_an_index_that_was_interrupted_is_made_again(tmp_path: Path, cache: Path, monkeypatch) -> None:
    folder = pairs_folder(tmp_path / "pairs")

    def killed(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(load, "write_sets", killed)
        with pytest.raises(KeyboardInterrupt):
            load_rankings(folder, cache)
    assert len(load_rankings(folder, cache)) == 1


def test_an_index_of_another_version_is_not_read(tmp_path: Path, cache: Path, monkeypatch, reads: list[str]) -> None:
    folder = pairs_folder(tmp_path / "pairs")
    load_rankings(folder, cache)
    monkeypatch.setattr(indexing, "VERSION", indexing.VERSION + 1)
    load_rankings(folder, cache)
    assert reads == ["pairs", "pairs"]


def test_images_that_are_nowhere_else_are_kept_in_the_index(tmp_path: Path, cache: Path, monkeypatch) -> None:
    """As those of an export that has them as `data:` URLs."""
    folder = pairs_folder(tmp_path / "pairs")
    only = RankedSet("a cat", (stored("red"), stored("blue")), (1, 2))
    monkeypatch.setattr(load, "iterate_format", lambda *_: iter([only]))
    rankings = load_rankings(folder, cache)
    assert rankings.images[1].open() == stored("blue").open()
    place = rankings.images[1].place
    assert place is not None and place.file == index_files(cache)[0]


def test_graded_and_curated_folders_are_indexed_and_seen_to_change(tmp_path: Path, cache: Path) -> None:
    folder = pairs_folder(tmp_path / "graded")
    (folder / "metadata.csv").write_text("file_name,prompt,grade\nred.png,a cat,0.25\nblue.png,a dog,1\n")
    assert [each.grade for each in load_graded(folder, cache)] == [0.25, 1.0]
    (folder / "metadata.csv").write_text("file_name,prompt,grade\nred.png,a cat,0.75\n")
    assert [each.grade for each in load_graded(folder, cache)] == [0.75]
    (folder / "metadata.csv").write_text("file_name,prompt\nred.png,a cat\n")
    assert [each.prompt for each in load_curated(folder, cache)] == ["a cat"]
    (folder / "red.png").write_bytes(encoded("white"))
    assert [each.image.open().getpixel((0, 0)) for each in load_curated(folder, cache)] == [(255, 255, 255)]


def test_a_file_of_which_no_row_is_left_is_part_of_a_source(tmp_path: Path, cache: Path) -> None:
    folder = tmp_path / "pickapic"
    folder.mkdir()
    pick_a_pic(folder / "train-00000.parquet", 3)
    table = pq.read_table(pick_a_pic(folder / "train-00001.parquet", 2))
    unlabelled = table.set_column(table.schema.get_field_index("has_label"), "has_label", pa.array([False, False]))
    pq.write_table(unlabelled, folder / "train-00001.parquet")
    assert len(load_rankings(folder, cache)) == 3
    (folder / "train-00000.parquet").unlink()
    with pytest.raises(InputError, match="has no ranked set"):
        load_rankings(folder, cache)
