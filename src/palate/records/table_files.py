"""Reading a user's tables: JSON, JSON lines, CSV, TSV (also gzipped) and Parquet; each row has a name for errors."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from palate.core.errors import InputError
from palate.core.files import explain_os_errors, require_file
from palate.records.jsonlines import json_object, json_value
from palate.records.tally import Tally

TABLE_ENDINGS = (".jsonl", ".json", ".csv", ".tsv", ".parquet")
TAB = "\t"
NamedRow = tuple[str, Any]
"""The name of a row in errors, such as `line 3 of metadata.csv`, and the row itself."""


def ending(path: Path) -> str:
    """The ending that gives a file's format, in lower case: `.csv` for `prompts.CSV.gz`."""
    name = path.name.lower()
    return Path(name.removesuffix(".gz")).suffix


def read_text(path: Path, what: str) -> str:
    """The text of a UTF-8 file, unzipped where its name ends in `.gz`.

    Args:
        what: what the file is to the user, such as `"prompt file"`.

    Raises:
        InputError: there is no such file, or it is not UTF-8; the message names the line.
    """
    require_file(path, what)
    try:
        with explain_os_errors(f"read the {what} {path}"):
            data = path.read_bytes()
            data = gzip.decompress(data) if path.suffix.lower() == ".gz" else data
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"the {what} {path} cannot be unzipped ({error}); download or zip it again") from error
    return decoded(data, f"the {what} {path}")


def decoded(data: bytes, what: str) -> str:
    """Bytes of UTF-8 as text, without a byte-order mark; InputError names the first line that is not UTF-8."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        byte = f"byte 0x{data[error.start]:02x}"
        raise InputError(f"{what} is not UTF-8: line {line} has the {byte}; save it as UTF-8") from error


def read_table(path: Path, what: str, tally: Tally | None = None) -> list[NamedRow]:
    """The rows of a table by name: objects by column, or whatever a JSON list holds.

    Args:
        what: what the file is to the user.
        tally: whether damaged rows are refused (the default) or left out and counted.

    Raises:
        InputError: there is no such file, its ending is not in `TABLE_ENDINGS`, or the file or a row is damaged.
    """
    kind, tally = ending(path), tally or Tally(hint="")
    if kind == ".parquet":
        return _parquet_table(path, what)
    text = read_text(path, what)
    if kind == ".jsonl":
        return list(_json_lines(text, path, tally))
    if kind == ".json":
        return [(f"row {number} of {path}", row) for number, row in enumerate(_json_list(text, path, what))]
    if kind not in TABLE_ENDINGS:
        raise InputError(f"the {what} {path} has none of the endings {', '.join(TABLE_ENDINGS)} (or .gz); rename it")
    return list(_csv_rows(text, TAB if kind == ".tsv" else ",", path, tally))


def _parquet_table(path: Path, what: str) -> list[NamedRow]:
    """The rows of a Parquet file without its columns of bytes, which contain images."""
    import pyarrow as pa

    from palate.records.parquet import parquet_rows, parquet_schema

    whole = parquet_schema(require_file(path, what))
    binary = pa.types.is_binary, pa.types.is_large_binary, pa.types.is_fixed_size_binary, pa.types.is_struct
    schema = pa.schema([field for field in whole if not any(kind(field.type) for kind in binary)])
    return [(str(name), row) for name, row in parquet_rows(path, (), schema)]


def _json_lines(text: str, path: Path, tally: Tally) -> Iterator[NamedRow]:
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            name = f"line {number} of {path}"
            with tally.row(name):
                row = json_object(line)
                yield name, row


def _json_list(text: str, path: Path, what: str) -> list[Any]:
    try:
        rows = json_value(text)
    except InputError as error:
        raise InputError(f"the {what} {path} is not JSON: {error}; write it again") from error
    if not isinstance(rows, list):
        raise InputError(f"the {what} {path} is not a JSON list but begins {text.strip()[:20]!r}; write [..., ...]")
    return rows


def _csv_rows(text: str, delimiter: str, path: Path, tally: Tally) -> Iterator[NamedRow]:
    records = _csv_records(text, delimiter, path)
    _, header = next(records, (0, []))
    header = [name.strip() for name in header]
    if twice := [name for name in header if name and header.count(name) > 1]:
        raise InputError(f"the header of {path} has the column {twice[0]!r} twice; rename one")
    for line, values in records:
        name = f"line {line} of {path}"
        with tally.row(name):
            if len(values) > len(header):
                raise InputError(
                    f"{len(values)} fields where the header has {len(header)}, the last {values[-1][:60]!r}; "
                    f"put quotes around text that contains a {'tab' if delimiter == TAB else 'comma'}"
                )
            padded = [*values, *[None] * (len(header) - len(values))]
            yield name, {column: value for column, value in zip(header, padded) if column}


def _csv_records(text: str, delimiter: str, path: Path) -> Iterator[tuple[int, list[str]]]:
    """The records that are not empty, each with the number of its first line.

    Where the quotes in a table with tabs do not follow the rules of CSV, they are read as ordinary characters.
    """
    lines = list(io.StringIO(text, newline=""))
    try:
        return iter(_parsed(lines, delimiter, csv.QUOTE_MINIMAL))
    except _QuoteError as error:
        if delimiter == TAB:
            return iter(_parsed(lines, delimiter, csv.QUOTE_NONE))
        raise InputError(
            f"the quote that opens on line {error.line} of {path} has no closing quote before a comma or a new line; "
            "close it, and write each quote inside quoted text twice"
        ) from error


class _QuoteError(Exception):
    """A quoted field has no closing quote."""

    def __init__(self, line: int) -> None:
        self.line = line


def _parsed(lines: Sequence[str], delimiter: str, quoting: Literal[0, 3]) -> list[tuple[int, list[str]]]:
    reader = csv.reader(lines, delimiter=delimiter, quoting=quoting, strict=True)
    records, first = [], 1
    while True:
        try:
            record = next(reader, None)
        except csv.Error as error:
            raise _QuoteError(_quote_line(lines, first, delimiter)) from error
        if record is None:
            return records
        if record:
            records.append((first, record))
        first = reader.line_num + 1


def _quote_line(lines: Sequence[str], first: int, delimiter: str) -> int:
    """The line of the opening quote without a closing quote, in the record that begins on line `first`."""
    opened, state = first, "start"
    for number, line in enumerate(lines[first - 1 :], first):
        for letter in line:
            if state == "quoted":
                state = "closing" if letter == '"' else state
            elif letter == '"' and state == "closing":  # two quotes inside quoted text are one quote
                state = "quoted"
            elif letter == '"' and state == "start":
                state, opened = "quoted", number
            elif letter in (delimiter, "\r", "\n"):
                state = "start"
            elif state == "closing":
                return opened
            else:
                state = "plain"
    return opened
