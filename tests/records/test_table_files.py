"""Tables are read whole and row by row, or refused by the line that is wrong."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from palate.core.errors import InputError
from palate.records.table_files import TABLE_ENDINGS, read_table
from palate.records.tally import Tally

ROWS = [{"a": "1", "b": 'x, "y"\nz'}, {"a": "2", "b": ""}]
CSV = 'a,b\n1,"x, ""y""\nz"\n2,\n'

DAMAGED: list[tuple[str, str | bytes, str]] = [
    (
        "t.csv",
        "a\nx\na red square, on grass\n",
        r"line 3 of .*t\.csv: 2 fields where the header has 1, the last ' on",
    ),
    ("t.csv", "a,b\nx,y,\n", "3 fields where the header has 2"),
    ("t.tsv", "a\nred square\tgreen\n", r"line 2 of .*t\.tsv: 2 fields .* put quotes around text that contains a tab"),
    ("t.csv", "a,b,a\n1,2,3\n", "the header of .* has the column 'a' twice"),
    ("t.csv", 'a,b\n1,2\n3,"x\n5,6\n', r"the quote that opens on line 3 of .*t\.csv has no closing quote"),
    ("t.csv", 'a,b\n1,"x\n3,"y"\n', "the quote that opens on line 2"),
    ("t.csv", 'a,b\n"1\n2","x\n3,4\n', "the quote that opens on line 3"),
    ("t.csv", 'a,b\n1,"x" y\n', "the quote that opens on line 2"),
    ("t.csv", 'a,b\n1,"' + "x\n" * 200_000, "the quote that opens on line 2"),
    ("t.csv", b"a\ncaf\xe9\n", r"the table .*t\.csv is not UTF-8: line 2 has the byte 0xe9; save it as UTF-8"),
    ("t.csv", "a\nb\n".encode("utf-16"), "is not UTF-8: line 1 has the byte 0xff"),
    ("t.jsonl", b'{"a": 1}\n{"a": "caf\xe9"}\n', "is not UTF-8: line 2"),
    ("t.jsonl", '{"a": 1}\n{"a": 2\n', r"line 2 of .*t\.jsonl: it is not JSON .*; correct or delete the line"),
    ("t.jsonl", '{"a": 1}\n{"a": 2', "line 2 of .*: it is not JSON"),
    ("t.jsonl", '{"a": 1}\n[2]\n', r"line 2 of .*: it is '\[2\]', not a JSON object"),
    ("t.jsonl", '{"a": 1, "a": 2}\n', "line 1 of .*the key 'a' occurs twice"),
    ("t.jsonl", '{"a": ' * 100_000, "line 1 of .*nested too deep"),
    ("t.json", "[" * 100_000, r"the table .*t\.json is not JSON: .*nested too deep"),
    ("t.json", '[{"b": {"a": 1, "a": 2}}]', "the key 'a' occurs twice"),
    ("t.json", f"[{'9' * 5000}]", "is not JSON: Exceeds the limit"),
    ("t.json", '{"a": 1}', "is not a JSON list but begins"),
    ("t.csv.gz", b"a\n1\n", "cannot be unzipped"),
    ("t.csv.gz", gzip.compress(b"a\n1\n" * 100)[:-9], "cannot be unzipped"),
    ("t.parquet", b"PAR1", "cannot be read as Parquet"),
    ("t.pdf", "x", "has none of the endings"),
]


def read(path: Path, content: str | bytes, tally: Tally | None = None) -> list[Any]:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_table(path, "table", tally)


@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"], ids=["", "byte-order mark"])
def test_a_csv_has_rows_with_the_lines_that_they_begin_on(tmp_path: Path, ends: str, mark: str) -> None:
    rows = read(tmp_path / "t.csv", mark + CSV.replace("\n", ends))
    assert [name for name, _ in rows] == [f"line {line} of {tmp_path / 't.csv'}" for line in (2, 4)]
    assert [row for _, row in rows] == [{**ROWS[0], "b": ROWS[0]["b"].replace("\n", ends)}, ROWS[1]]


def test_a_row_may_lack_its_last_fields_and_a_header_may_have_blanks(tmp_path: Path) -> None:
    assert [row for _, row in read(tmp_path / "t.csv", ", a ,b\n0,1\n\n1,2,3\n")] == [
        {"a": "1", "b": None},
        {"a": "2", "b": "3"},
    ]
    assert read(tmp_path / "t.csv", "a,b\n") == read(tmp_path / "t.csv", "") == []


@pytest.mark.parametrize("name, content, complaint", DAMAGED, ids=[complaint for _, _, complaint in DAMAGED])
def test_a_damaged_table_is_refused_where_it_is_wrong(tmp_path: Path, name: str, content: Any, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        read(tmp_path / name, content)


def test_rows_that_are_none_are_left_out_and_counted_where_that_is_asked(tmp_path: Path) -> None:
    tally = Tally(skip_bad=True)
    assert [row for _, row in read(tmp_path / "t.csv", "a\n1\n2, 3\n4\n", tally)] == [{"a": "1"}, {"a": "4"}]
    assert [row for _, row in read(tmp_path / "t.jsonl", '{"a": 1}\nx\n{"a": 4}', tally)] == [{"a": 1}, {"a": 4}]
    assert [message.split(":")[0] for message in tally.bad] == [
        f"line 3 of {tmp_path / 't.csv'}",
        f"line 2 of {tmp_path / 't.jsonl'}",
    ]


def test_quotes_of_a_table_with_tabs_are_letters_unless_all_are_those_of_csv(tmp_path: Path) -> None:
    text = 'Prompt\tNote\n"G I G G L E" painted\tx\n5" nails\t"y"\n'
    rows = [row["Prompt"] for _, row in read(tmp_path / "t.tsv", text)]
    assert rows == ['"G I G G L E" painted', '5" nails']
    assert [row["a"] for _, row in read(tmp_path / "t.tsv", 'a\tb\n"x\ty"\tz\n')] == ["x\ty"]


def test_a_parquet_table_is_read_without_its_bytes(tmp_path: Path) -> None:
    rows = [{"file_name": "a.png", "n": 1, "image": {"bytes": b"x", "path": None}, "raw": b"y", "tags": ["a"]}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "t.parquet")
    assert read_table(tmp_path / "t.parquet", "table") == [
        (f"row 0 of {tmp_path / 't.parquet'}", {"file_name": "a.png", "n": 1, "tags": ["a"]})
    ]
    assert ".parquet" in TABLE_ENDINGS
