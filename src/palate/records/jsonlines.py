"""JSON-lines files that grow while a stage runs and stay readable when the process is killed at any moment."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from palate.core.errors import InputError
from palate.core.files import explain_os_errors, write_atomic
from palate.core.json_files import to_json
from palate.records import checked


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object of these keys and values; InputError where a key occurs twice."""
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise InputError(f"the key {next(key for key in keys if keys.count(key) > 1)!r} occurs twice in an object")
    return found


def json_value(text: str) -> Any:
    """The value of a JSON text; a key that occurs twice in one object is an error (plain `json` keeps the last value).

    Raises:
        InputError: it is not JSON; the message contains only the reason.
    """
    try:
        return json.loads(text, object_pairs_hook=unique_keys)
    except RecursionError as error:
        raise InputError("lists or objects in it are nested too deep") from error
    except ValueError as error:
        raise InputError(str(error)) from error


def json_object(line: str) -> dict[str, Any]:
    """The object on one line of a JSON-lines file; InputError says why the line is not an object."""
    try:
        row = json_value(line)
    except InputError as error:
        raise InputError(f"it is not JSON ({error}); correct or delete the line") from error
    if not isinstance(row, dict):
        raise InputError(f"it is {line.strip()[:40]!r}, not a JSON object; correct or delete the line")
    return row


class JsonLines:
    """A file with one JSON object per line, written by one process at a time; others may read it meanwhile.

    An incomplete last line (the process died, or is still writing) is not read, and the next `append` overwrites it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._whole_lines = False

    def read(self, needed: Mapping[str, checked.Check] = MappingProxyType({})) -> list[dict[str, Any]]:
        """All complete rows; none where there is no file yet.

        Args:
            needed: the keys that each row must have, with the check of each value, as for `checked.cells`; a user may
                have edited the file.

        Raises:
            InputError: a line other than the last is not a JSON object, or a row fails a check.
        """
        rows = []
        for number, line in enumerate(self._whole().split(b"\n"), 1):
            if line.strip():
                try:
                    rows.append(_row(line.decode(), needed))
                except (InputError, UnicodeDecodeError) as error:
                    raise InputError(f"line {number} of {self.path}: {error}") from error
        return rows

    def replace(self, rows: Iterable[dict[str, Any]]) -> None:
        """Replaces the contents of the file."""
        write_atomic(self.path, _lines(rows, self.path))

    def append(self, rows: Iterable[dict[str, Any]]) -> None:
        """Appends rows and waits until they are on the disk."""
        with explain_os_errors(f"append to {self.path}"):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if not self._whole_lines and self.path.exists():
                write_atomic(self.path, self._whole())
            self._whole_lines = False
            with self.path.open("ab") as file:
                file.write(_lines(rows, self.path))
                file.flush()
                os.fsync(file.fileno())
            self._whole_lines = True

    def _whole(self) -> bytes:
        """The file's contents up to the last complete row, with its line break."""
        with explain_os_errors(f"read {self.path}"):
            data = self.path.read_bytes() if self.path.exists() else b""
        rows, last = data[: data.rfind(b"\n") + 1], data[data.rfind(b"\n") + 1 :]
        try:
            return rows + last + b"\n" if json.loads(last) else rows
        except (ValueError, RecursionError):
            return rows


def _row(line: str, needed: Mapping[str, checked.Check]) -> dict[str, Any]:
    row = json_object(line)
    try:
        return checked.cells(row, needed)
    except InputError as error:
        raise InputError(f"{error}, or delete the line") from error


def _lines(rows: Iterable[dict[str, Any]], path: Path) -> bytes:
    return "".join(to_json(row, str(path), ascii=False) + "\n" for row in rows).encode()
