"""Ranked sets go through Parquet unchanged, open in `datasets`, and bad files are refused by name."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pictures import encoded, stored

from palate.core.errors import InputError
from palate.records.images import StoredImage
from palate.records.parquet import features_of_sets, iterate_sets, read_sets, write_sets
from palate.records.ranked import RankedSet, Vote
from palate.records.tally import Tally

FULL = RankedSet(
    prompt="three red stars",
    images=(stored("red"), stored("green"), stored("blue")),
    ranks=(2, 1, 2),
    votes=(Vote("ann", (1, 2, 3)), Vote("bob", (2, 1, 2))),
    systems=("a", "b", ""),
    seeds=(0, 2**32 - 1, 7),
    scores={"teacher:utility": (0.5, -1.0, 3.25)},
)
PLAIN = RankedSet("a cat", (stored("red"), stored("white")))


def test_every_field_comes_back(tmp_path: Path) -> None:
    assert write_sets([FULL, PLAIN], tmp_path / "p.parquet") == 2
    assert read_sets(tmp_path / "p.parquet") == [FULL, PLAIN] == read_sets(tmp_path)


def test_more_sets_than_fit_in_one_batch_come_back_in_order(tmp_path: Path) -> None:
    sets = [RankedSet(f"prompt {i}", PLAIN.images, (1, 2)) for i in range(150)]
    write_sets(iter(sets), tmp_path / "p.parquet")
    assert read_sets(tmp_path / "p.parquet") == sets


def test_datasets_opens_the_file_and_shows_images(tmp_path: Path) -> None:
    import datasets

    write_sets([FULL, PLAIN], tmp_path / "p.parquet")
    table = datasets.load_dataset(
        "parquet", data_files=str(tmp_path / "p.parquet"), split="train", cache_dir=str(tmp_path / "cache")
    )
    assert table.features == features_of_sets()
    row = table[0]
    assert row["images"][2].getpixel((0, 0)) == (0, 0, 255)
    assert (row["prompt"], row["ranks"], row["seeds"]) == ("three red stars", [2, 1, 2], [0, 2**32 - 1, 7])
    assert row["votes"][1] == {"rater": "bob", "ranks": [2, 1, 2]}


def test_images_on_disk_are_embedded_and_files_beside_the_table_are_found(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded("red"))
    beside = StoredImage(path=tmp_path / "a.png")
    write_sets([RankedSet("a cat", (beside, stored("blue")), (1, 2))], tmp_path / "in" / "p.parquet")
    assert read_sets(tmp_path / "in")[0].images[0].read() == encoded("red")

    columns = {"prompt": ["a cat"], "images": [[{"bytes": None, "path": "a.png"}] * 2], "ranks": [[1, 1]]}
    pq.write_table(pa.table(columns), tmp_path / "hand.parquet")
    assert read_sets(tmp_path / "hand.parquet")[0].images[0].path == tmp_path / "a.png"


def test_a_set_that_cannot_be_written_leaves_no_file(tmp_path: Path) -> None:
    gone = RankedSet("a cat", (stored(), StoredImage(path=tmp_path / "gone.png")))
    for sets in ([FULL, gone], []):
        with pytest.raises(InputError):
            write_sets(sets, tmp_path / "p.parquet")
        assert list(tmp_path.iterdir()) == []


def test_a_failed_write_keeps_the_file_that_was_there(tmp_path: Path) -> None:
    write_sets([FULL], tmp_path / "p.parquet")
    with pytest.raises(InputError):
        write_sets([], tmp_path / "p.parquet")
    assert read_sets(tmp_path / "p.parquet") == [FULL]


def test_missing_columns_are_named(tmp_path: Path) -> None:
    pq.write_table(pa.table({"prompt": ["a"], "image": [b""]}), tmp_path / "p.parquet")
    with pytest.raises(InputError, match="p.parquet lacks the columns images, ranks; it has prompt, image"):
        read_sets(tmp_path / "p.parquet")


def test_a_column_of_another_type_is_named(tmp_path: Path) -> None:
    columns = {"prompt": ["a"], "images": [[{"bytes": encoded(), "path": ""}] * 2], "ranks": ["first, second"]}
    pq.write_table(pa.table(columns), tmp_path / "p.parquet")
    with pytest.raises(InputError, match="the column 'ranks' of .*p.parquet is string"):
        read_sets(tmp_path / "p.parquet")


def test_a_file_that_is_no_parquet_is_named(tmp_path: Path) -> None:
    (tmp_path / "p.parquet").write_bytes(b"PAR1 no more")
    with pytest.raises(InputError, match="p.parquet cannot be read as Parquet"):
        read_sets(tmp_path / "p.parquet")
    with pytest.raises(InputError, match="no .parquet file at .*nowhere"):
        read_sets(tmp_path / "nowhere")


def test_bad_rows_are_refused_by_name_or_skipped_and_counted(tmp_path: Path) -> None:
    bad_image = {"prompt": "b", "images": [{"bytes": b"", "path": None}, {"bytes": encoded(), "path": None}]}
    bad_ranks = {"prompt": "c", "images": [{"bytes": encoded(), "path": None}] * 2, "ranks": [1, 2, 3]}
    good = {"prompt": "a", "images": [{"bytes": encoded(), "path": None}] * 2, "ranks": [1, 1]}
    pq.write_table(pa.Table.from_pylist([good, bad_image | {"ranks": [1, 2]}, bad_ranks, good]), tmp_path / "p.parquet")
    with pytest.raises(InputError, match=r"row 1 of .*p\.parquet: the image 1 of row 1 .* is empty .*--skip-bad"):
        read_sets(tmp_path / "p.parquet")
    tally = Tally(skip_bad=True)
    assert [one.prompt for one in iterate_sets(tmp_path / "p.parquet", tally)] == ["a", "a"]
    assert tally.summary() == {"bad rows": 2}
    assert "row 2" in tally.bad[1] and "3 ranks for 2" in tally.bad[1]
