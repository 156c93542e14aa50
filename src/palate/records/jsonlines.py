"""A list of rows that grows while a stage runs, and that survives being killed between two rows or inside one."""

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


def json_value(text: str) -> Any:
    """The value that a JSON text holds; a key twice in one object is an error, where plain JSON keeps the last.

    Raises:
        InputError: it is no JSON; the message is the reason alone.
    """
    try:
        return json.loads(text, object_pairs_hook=_object)
    except RecursionError as error:
        raise InputError("lists or objects in it are nested too deep") from error
    except ValueError as error:
        raise InputError(str(error)) from error


def json_object(line: str) -> dict[str, Any]:
    """The object that a line of JSON lines holds; InputError gives the reason why it is none."""
    try:
        row = json_value(line)
    except InputError as error:
        raise InputError(f"it is no JSON ({error}); correct or delete the line") from error
    if not isinstance(row, dict):
        raise InputError(f"it is {line.strip()[:40]!r}, no JSON object; correct or delete the line")
    return row


class JsonLines:
    """A file with one JSON object a line, grown by one process at a time; others may read it meanwhile.

    A last line that is cut short (the process died, or is still writing) is not read, and the next `append` takes its
    place.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._whole_lines = False

    def read(self, needed: Mapping[str, checked.Check] = MappingProxyType({})) -> list[dict[str, Any]]:
        """All whole rows; none where there is no file yet.

        Args:
            needed: what a row must have, by its key, and what each value is held against, as of `checked.cells`:
                somebody may have edited the file.

        Raises:
            InputError: a line but the last is no JSON object, or a row lacks what it must have.
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
        """Writes the file anew."""
        write_atomic(self.path, _lines(rows, self.path))

    def append(self, rows: Iterable[dict[str, Any]]) -> None:
        """Adds rows and waits until the disk has them."""
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
        """The file's contents up to the last whole row, with its line break."""
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


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise InputError(f"the key {next(key for key in keys if keys.count(key) > 1)!r} stands twice in an object")
    return found


def _lines(rows: Iterable[dict[str, Any]], path: Path) -> bytes:
    return "".join(to_json(row, str(path), ascii=False) + "\n" for row in rows).encode()
