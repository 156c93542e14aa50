"""Large JSON tables are read one row at a time, with the same rows and refusals as when they are read at once."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from fuzzing import EXAMPLES, damaged, edits, settings
from hypothesis import given

from palate.core.errors import InputError
from palate.records import table_stream
from palate.records.table_files import read_table
from palate.records.table_stream import first_object, stream_table
from palate.records.tally import Tally

ROWS: list[Any] = [{"a": "é\u2028", "b": [1, {"c": None}]}, 5, "text", [], 12345, {"long": "x" * 300}, True, -1.5e3]


def streamed(file: Path, tally: Tally | None = None) -> list[tuple[str, Any]]:
    return list(stream_table(file, "table", tally or Tally(hint="")))


@pytest.mark.parametrize("characters", [1, 2, 7, 64, 10_000])
@pytest.mark.parametrize("indent", [None, 2])
def test_a_list_is_read_wherever_its_text_is_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, characters: int, indent: int | None
) -> None:
    monkeypatch.setattr(table_stream, "CHARACTERS", characters)
    file = tmp_path / "a.json"
    for ascii_only in (True, False):
        file.write_text(f" {json.dumps(ROWS, indent=indent, ensure_ascii=ascii_only)}\n", encoding="utf-8")
        assert streamed(file) == read_table(file, "table")
    file.write_text("[]")
    assert streamed(file) == []


def test_lines_zipped_files_and_other_tables_are_read_as_at_once(tmp_path: Path) -> None:
    lines = '\ufeff{"a": 1}\r\n\n{"a": "x\u2028y"}\n'
    (tmp_path / "a.jsonl").write_text(lines, encoding="utf-8")
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    (tmp_path / "c.json.gz").write_bytes(gzip.compress(json.dumps(ROWS).encode()))
    (tmp_path / "d.csv").write_text("a,b\n1,2\n")
    for file in sorted(tmp_path.iterdir()):
        assert streamed(file) == read_table(file, "table")
        assert len(streamed(file)) in (1, 2, len(ROWS))


@pytest.mark.parametrize(
    "text, complaint",
    [
        ('{"a": 1}', "is not a JSON list but begins '{\"a\": 1}'"),
        ("", "is not a JSON list but begins ''"),
        ("[1, 2", "is not JSON: at row 1, the file ends"),
        ('[{"a": 1}, {"a": ', "is not JSON: at row 1, Expecting value"),
        ('[{"a": 1} {"a": 2}]', "is not JSON: at row 0, '{\"a\": 2}]' stands where a comma should"),
        ("[1,]", "is not JSON: at row 1, Expecting value"),
        ("[1] 2", "is not JSON: at row 0, '2' follows the list"),
        ('[1, {"a": 1, "a": 2}]', "is not JSON: at row 1, the key 'a' occurs twice"),
        ("[" + "[" * 100_000, "lists or objects are nested too deep"),
        ("[" + "9" * 5000 + "]", "is not JSON: at row 0, Exceeds the limit"),
    ],
)
def test_a_damaged_list_is_one_clear_error_whatever_is_skipped(tmp_path: Path, text: str, complaint: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(InputError, match=complaint.replace("{", r"\{").replace("[", r"\[")):
        streamed(tmp_path / "a.json", Tally(skip_bad=True))


def test_a_damaged_line_is_a_bad_row_and_one_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"a": 1}\n{"a": \n{"a": 3}\n')
    with pytest.raises(InputError, match=r"line 2 of .*a\.jsonl: it is not JSON"):
        streamed(tmp_path / "a.jsonl")
    tally = Tally(skip_bad=True)
    assert [row for _, row in streamed(tmp_path / "a.jsonl", tally)] == [{"a": 1}, {"a": 3}]
    for name, data in (("b.jsonl", b'{"a": 1}\n{"a": "\xe9"}\n'), ("c.json", b'[1,\n"\xe9"]')):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(InputError, match=rf"{name} is not UTF-8: line 2 has the byte 0xe9"):
            streamed(tmp_path / name)
    (tmp_path / "d.json.gz").write_bytes(gzip.compress(b"[1, 2, 3]" * 50)[:-20])
    with pytest.raises(InputError, match=r"d\.json\.gz cannot be unzipped"):
        streamed(tmp_path / "d.json.gz")


@pytest.mark.parametrize(
    "text, first",
    [
        ('[{"a": 1}, oops', {"a": 1}),
        ('\n {"a": {"b": "}"}}\nrubbish', {"a": {"b": "}"}}),
        ('[5, {"a": 1}]', None),
        ('[{"a": "' + "x" * 600_000 + '"}]', {"a": "x" * 600_000}),
        ('[{"a": ', None),
        ("", None),
        ("\xff", None),
    ],
)
def test_the_first_object_of_a_file_is_found_without_the_rest(tmp_path: Path, text: str, first: Any) -> None:
    for name in ("a.json", "a.jsonl"):
        (tmp_path / name).write_text(text, encoding="latin-1")
        assert first_object(tmp_path / name) == first
    assert first_object(tmp_path / "a.csv") is None


@EXAMPLES
def test_a_damaged_list_is_read_or_refused_as_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, examples: int
) -> None:
    monkeypatch.setattr(table_stream, "CHARACTERS", 16)
    sound, file = json.dumps(ROWS).encode(), tmp_path / "a.json"

    def outcome(read: Any) -> Any:
        try:
            return read(file)
        except InputError:
            return None

    @settings(examples)
    @given(edits())
    def check(changes: list) -> None:
        file.write_bytes(damaged(sound, changes))
        assert repr(outcome(streamed)) == repr(outcome(lambda path: read_table(path, "table", Tally(hint=""))))

    check()
