"""Reading large JSON tables one row at a time, so that only a few rows are in memory."""

from __future__ import annotations

import gzip
import io
import json
import re
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from palate.core.errors import InputError
from palate.core.files import explain_os_errors, require_file
from palate.records.jsonlines import json_object, unique_keys
from palate.records.table_files import NamedRow, ending, read_table, read_text
from palate.records.tally import Tally

CHARACTERS = 2**18
"""How many characters are read at once; more where a single row is longer."""
_NEAR_THE_END = 16  # the longest word of JSON, an escape such as \\ud83d, may be cut there
_SPACE = re.compile(r"[ \t\n\r]+")
_DECODER = json.JSONDecoder(object_pairs_hook=unique_keys)


def stream_table(path: Path, what: str, tally: Tally) -> Iterator[NamedRow]:
    """Like `read_table`, but the rows of a JSON list and of JSON lines are read one at a time.

    Raises:
        InputError: as for `read_table`; where a JSON list is damaged further on, the rows before that come first.
    """
    if ending(path) == ".json":
        for number, row in enumerate(_items(path, what)):
            yield f"row {number} of {path}", row
    elif ending(path) == ".jsonl":
        with _opened(path, what) as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    name = f"line {number} of {path}"
                    with tally.row(name):
                        row = json_object(line)
                        yield name, row
    else:
        yield from read_table(path, what, tally)


def first_object(path: Path) -> dict[str, Any] | None:
    """The first object of a file of JSON or JSON lines, without reading what follows; None where it has none."""
    if not path.is_file() or ending(path) not in (".json", ".jsonl"):
        return None
    try:
        with _opened(path, "table") as file:
            text, more = "", file.read(CHARACTERS)
            while more:
                text += more
                begin, brace, _ = text.partition("{")
                if begin.strip() not in ("", "["):
                    return None
                try:
                    return json.JSONDecoder().raw_decode(text, len(begin))[0] if brace else None
                except json.JSONDecodeError as error:
                    if not _cut(error, text):
                        return None
                more = file.read(len(text))
    except (InputError, ValueError, RecursionError):
        pass
    return None


def _items(path: Path, what: str) -> Iterator[Any]:
    """The items of a JSON list, one at a time."""
    with _opened(path, what) as file:
        text, number = _Text(file), 0
        if text.next() != "[":
            raise InputError(f"the {what} {path} is not a JSON list but begins {text.take(20)!r}; write [..., ...]")
        text.take(1)
        try:
            while number or text.next() != "]":
                yield text.value()
                mark = text.next()
                if mark == "]":
                    break
                if mark != ",":
                    raise _DamageError(f"{text.take(20)!r} stands where a comma should" if mark else "the file ends")
                text.take(1)
                text.next()
                number += 1
            text.take(1)
            if text.next():
                raise _DamageError(f"{text.take(20)!r} follows the list")
        except _DamageError as error:
            raise InputError(f"the {what} {path} is not JSON: at row {number}, {error}; write it again") from error


class _Text:
    """The text of a file, of which a part is in memory."""

    def __init__(self, file: io.TextIOBase) -> None:
        self._file, self._text, self._at = file, "", 0

    def next(self) -> str:
        """The next character that is not white space, which is then the first; "" at the end of the file."""
        while True:
            space = _SPACE.match(self._text, self._at)
            self._at = space.end() if space else self._at
            if self._at < len(self._text) or not self._more():
                return self._text[self._at : self._at + 1]

    def take(self, count: int) -> str:
        """The next characters, which are then done with."""
        self._at += count
        return self._text[self._at - count : self._at]

    def value(self) -> Any:
        """The JSON value that begins at the first character, which is then done with."""
        while True:
            try:
                found, end = _DECODER.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                if not (_cut(error, self._text) and self._more()):
                    raise _DamageError(error.msg) from error
            except (InputError, ValueError) as error:
                raise _DamageError(str(error)) from error
            except RecursionError as error:
                raise _DamageError("lists or objects are nested too deep") from error
            else:
                if end < len(self._text) or not self._more():  # a number may be cut
                    self._at = end
                    return found

    def _more(self) -> bool:
        rest = self._text[self._at :]
        found = self._file.read(max(CHARACTERS, len(rest)))
        self._text, self._at = rest + found, 0
        return bool(found)


class _DamageError(Exception):
    """A text is not JSON; the message contains only the reason."""


def _cut(error: json.JSONDecodeError, text: str) -> bool:
    """Whether the error may be only that the text ends too early."""
    return error.msg.startswith("Unterminated") or error.pos >= len(text) - _NEAR_THE_END


@contextmanager
def _opened(path: Path, what: str) -> Iterator[io.TextIOBase]:
    """The text of a UTF-8 file, unzipped where its name ends in `.gz`; what is wrong with it raises an InputError."""
    require_file(path, what)
    try:
        with ExitStack() as stack:
            with explain_os_errors(f"read the {what} {path}"):
                opened = gzip.open if path.suffix.lower() == ".gz" else open
                raw = stack.enter_context(opened(path, "rb"))
            yield stack.enter_context(io.TextIOWrapper(raw, "utf-8-sig", newline="\n"))
    except UnicodeDecodeError:
        read_text(path, what)  # its error names the line
        raise
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"the {what} {path} cannot be unzipped ({error}); download or zip it again") from error
