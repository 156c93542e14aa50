"""A list of rows survives being killed, and is read while another process writes it."""

from __future__ import annotations

from pathlib import Path

import pytest

from palate.core.errors import InputError
from palate.records import checked
from palate.records.jsonlines import JsonLines

ROWS = [{"a": 1}, {"a": "ü\n"}, {"a": None}]


def test_rows_come_back(tmp_path: Path) -> None:
    table = JsonLines(tmp_path / "new" / "t.jsonl")
    assert table.read() == []
    table.append(ROWS[:2])
    table.append(ROWS[2:])
    assert table.read() == ROWS == JsonLines(table.path).read()


def test_whatever_byte_the_writer_died_at_the_whole_rows_stay_and_the_rest_is_written_again(tmp_path: Path) -> None:
    table = JsonLines(tmp_path / "t.jsonl")
    table.append(ROWS)
    data = table.path.read_bytes()
    for cut in range(len(data) + 1):
        table.path.write_bytes(data[:cut])
        left = JsonLines(table.path).read()
        assert left == ROWS[: len(left)]
        assert table.path.read_bytes() == data[:cut]  # reading changes nothing
        JsonLines(table.path).append(ROWS[len(left) :])
        assert table.path.read_bytes() == data


def test_a_last_line_without_a_line_break_counts_when_it_is_whole(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text('{"a": 1}\n{"a": 2}')
    assert JsonLines(tmp_path / "t.jsonl").read() == [{"a": 1}, {"a": 2}]


@pytest.mark.parametrize("line", ["{'a': 1}", "[1]", "null"])
def test_a_damaged_line_is_named(tmp_path: Path, line: str) -> None:
    (tmp_path / "t.jsonl").write_text(f'{{"a": 1}}\n{line}\n{{"a": 2}}\n')
    with pytest.raises(InputError, match=r"line 2 of .*t\.jsonl"):
        JsonLines(tmp_path / "t.jsonl").read()


@pytest.mark.parametrize(
    "line, complaint",
    [
        ("{}", "no name and no seed among no columns; write one, or delete the line"),
        ('{"name": "a"}', "no seed among name; write one, or delete the line"),
        ('{"name": ["a"], "seed": 1}', r"the name is \['a'\], not text"),
        ('{"name": "a", "seed": "x"}', "the seed is 'x', not a whole number; write one, such as 1, or delete the line"),
        ('{"name": "a", "seed": null}', "the seed is missing, not a whole number"),
        ('{"name": "a", "seed": NaN}', "the seed is NaN, not a whole number"),
    ],
)
def test_a_row_without_what_it_must_have_is_named_with_its_line_and_key(
    tmp_path: Path, line: str, complaint: str
) -> None:
    (tmp_path / "t.jsonl").write_text(f'{{"name": "a", "seed": 1}}\n{line}\n')
    with pytest.raises(InputError, match=rf"line 2 of .*t\.jsonl: {complaint}"):
        JsonLines(tmp_path / "t.jsonl").read({"name": checked.text, "seed": checked.integer})


def test_what_a_row_must_have_comes_in_its_type(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text('{"seed": "7", "n": 1.0, "more": [1]}\n')
    needed = {"seed": checked.integer, "n": checked.finite_number}
    assert JsonLines(tmp_path / "t.jsonl").read(needed) == [{"seed": 7, "n": 1.0, "more": [1]}]
