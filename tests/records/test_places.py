"""Images inside Parquet are read one at a time, in any order, and large row groups neither fill memory nor overflow."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pictures import encoded, stored

from palate.core.errors import InputError
from palate.records import parquet_io, places
from palate.records.images import Place, StoredImage
from palate.records.parquet import iterate_sets, read_sets, write_sets
from palate.records.places import read_place
from palate.records.ranked import RankedSet
from palate.records.tally import Tally


def pick(path: Path, rows: int, group: int) -> Path:
    """Columns of bytes as Pick-a-Pic has them: row and column say what the bytes are."""
    columns = {f"jpg_{side}": [b"%d %d" % (row, side) for row in range(rows)] for side in (0, 1)}
    pq.write_table(pa.table(columns), path, row_group_size=group)
    return path


@pytest.mark.parametrize("order", ["forwards", "backwards", "random"])
def test_every_place_is_read_in_any_order(tmp_path: Path, order: str) -> None:
    file = pick(tmp_path / "p.parquet", 300, 70)
    numbers = np.arange(600)
    numbers = {"forwards": numbers, "backwards": numbers[::-1], "random": np.random.default_rng(0).permutation(600)}
    for number in numbers[order].tolist():
        row, side = divmod(number, 2)
        assert read_place(Place(file, row, f"jpg_{side}")) == b"%d %d" % (row, side)


def test_threads_share_the_readers(tmp_path: Path) -> None:
    file = pick(tmp_path / "p.parquet", 400, 50)
    rows = np.random.default_rng(1).integers(0, 400, 2000).tolist()
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda row: read_place(Place(file, row, "jpg_0")), rows))
    assert found == [b"%d 0" % row for row in rows]


def test_more_files_than_are_kept_open_are_read(tmp_path: Path) -> None:
    files = [pick(tmp_path / f"{number}.parquet", 3, 2) for number in range(places.OPEN_AT_ONCE + 5)]
    assert {read_place(Place(file, 2, "jpg_1")) for _ in range(2) for file in files} == {b"2 1"}
    assert len(places._READERS) <= places.OPEN_AT_ONCE


def test_a_place_that_is_not_there_any_more_is_named(tmp_path: Path) -> None:
    file = pick(tmp_path / "p.parquet", 3, 3)
    with pytest.raises(InputError, match="has no row 3 any more"):
        read_place(Place(file, 3, "jpg_0"))
    with pytest.raises(InputError, match="has no column 'jpg_7' any more"):
        read_place(Place(file, 0, "jpg_7"))
    with pytest.raises(InputError, match=r"gone\.parquet"):
        StoredImage(place=Place(tmp_path / "gone.parquet", 0, "jpg_0")).read()


def test_bytes_that_are_others_than_before_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(encoded("red"))
    image = StoredImage(path=path).checked()
    assert image.read() == encoded("red")
    path.write_bytes(encoded("blue"))
    with pytest.raises(InputError, match=r"a\.png has changed since it was first read"):
        image.read()


def test_a_checked_image_is_not_decoded_again(tmp_path: Path) -> None:
    image = StoredImage(data=encoded("red", (5, 3))).checked()
    assert image.facts is not None and image.facts[1:] == (5, 3)
    assert image.checked() is image


def test_images_with_equal_bytes_are_equal_wherever_they_are(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded("red"))
    write_sets([RankedSet("p", (stored("red"), stored("blue")), (1, 2))], tmp_path / "p.parquet")
    placed = read_sets(tmp_path / "p.parquet")[0].images[0]
    assert placed == StoredImage(path=tmp_path / "a.png") == stored("red") != stored("blue")
    assert len({placed, stored("red")}) == 1


def test_a_row_group_ends_before_its_images_are_too_many_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    size = len(encoded("red"))
    monkeypatch.setattr(parquet_io, "GROUP_BYTES", 7 * (size + 32))  # each with its digest
    sets = [RankedSet(f"p{i}", (stored("red"),) * 2, (1, 1)) for i in range(10)]
    sets.insert(4, RankedSet("large", (stored("red"),) * 20, (1,) * 20))  # one row that is more than a group may be
    write_sets(sets, tmp_path / "p.parquet")
    metadata = pq.ParquetFile(tmp_path / "p.parquet").metadata
    assert [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)] == [3, 1, 1, 3, 3]
    assert [each.prompt for each in read_sets(tmp_path / "p.parquet")] == [each.prompt for each in sets]


def test_a_row_group_has_no_more_than_so_many_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_io, "GROUP_ROWS", 4)
    write_sets([RankedSet("p", (stored("red"),) * 2, (1, 1))] * 9, tmp_path / "p.parquet")
    metadata = pq.ParquetFile(tmp_path / "p.parquet").metadata
    assert [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)] == [4, 4, 1]


class Group:
    def __init__(self, rows: int, size: int) -> None:
        self.num_rows, self.total_byte_size = rows, size

    def row_group(self, number: int) -> Group:
        return self


@pytest.mark.parametrize(
    "rows, size, at_once",
    [(1000, 10**6, 64), (100, 10**9, 6), (64, 2**31, 1), (10**6, 2**31, 1), (1, 2**33, 1), (0, 0, 1), (5, 0, 64)],
)
def test_rows_are_decoded_so_few_at_once_that_no_column_reaches_2_gib(rows: int, size: int, at_once: int) -> None:
    metadata: object = Group(rows, size)
    assert places.rows_at_once(metadata, 0, 64) == at_once  # type: ignore[arg-type]


def test_a_table_that_others_wrote_is_read_a_row_at_a_time_where_it_must_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [
        {"prompt": f"p{i}", "images": [{"bytes": encoded("red"), "path": None}] * 2, "ranks": [1, 1]} for i in range(9)
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "p.parquet")
    asked = []

    def one(metadata: object, group: int, most: int) -> int:
        asked.append(most)
        return 1

    monkeypatch.setattr(parquet_io, "rows_at_once", one)
    assert [each.prompt for each in iterate_sets(tmp_path / "p.parquet", Tally())] == [f"p{i}" for i in range(9)]
    assert asked == [64]


def test_a_damaged_row_group_is_named(tmp_path: Path) -> None:
    file = tmp_path / "p.parquet"
    pq.write_table(pa.table({"jpg_0": [bytes(range(256)) * 20] * 50}), file, compression="zstd", use_dictionary=False)
    data = bytearray(file.read_bytes())
    data[60:400] = b"\xff" * 340
    file.write_bytes(data)
    with pytest.raises(InputError, match=r"p\.parquet cannot be read as Parquet"):
        read_place(Place(file, 40, "jpg_0"))
