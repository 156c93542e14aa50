"""A list of rows that grows while a stage runs, and that survives being killed between two rows or inside one."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from palate.core.errors import InputError
from palate.core.files import explain_os_errors, write_atomic
from palate.core.json_files import to_json


def parse_rows(text: str, source: str | Path) -> list[dict[str, Any]]:
    """The JSON objects of a text with one a line; blank lines do not count.

    Raises:
        InputError: a line is no JSON object; names the line of `source`.
    """
    rows = []
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                row = json.loads(line)
            except ValueError as error:
                raise InputError(f"line {number} of {source} is no JSON ({error}); mend or delete the line") from error
            if not isinstance(row, dict):
                raise InputError(f"line {number} of {source} is {line[:40]!r}, no JSON object; mend or delete the line")
            rows.append(row)
    return rows


class JsonLines:
    """A file with one JSON object a line, grown by one process at a time; others may read it meanwhile.

    A last line that is cut short (the process died, or is still writing) is not read, and the next `append` takes its
    place.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._mended = False

    def read(self) -> list[dict[str, Any]]:
        """All whole rows; none where there is no file yet.

        Raises:
            InputError: a line but the last is no JSON object.
        """
        return parse_rows(self._whole().decode(errors="replace"), self.path)

    def replace(self, rows: Iterable[dict[str, Any]]) -> None:
        """Writes the file anew."""
        write_atomic(self.path, _lines(rows, self.path))

    def append(self, rows: Iterable[dict[str, Any]]) -> None:
        """Adds rows and waits until the disk has them."""
        with explain_os_errors(f"append to {self.path}"):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if not self._mended and self.path.exists():
                write_atomic(self.path, self._whole())
            self._mended = False
            with self.path.open("ab") as file:
                file.write(_lines(rows, self.path))
                file.flush()
                os.fsync(file.fileno())
            self._mended = True

    def _whole(self) -> bytes:
        """The file's contents up to the last whole row, with its line break."""
        with explain_os_errors(f"read {self.path}"):
            data = self.path.read_bytes() if self.path.exists() else b""
        rows, last = data[: data.rfind(b"\n") + 1], data[data.rfind(b"\n") + 1 :]
        try:
            return rows + last + b"\n" if json.loads(last) else rows
        except ValueError:
            return rows


def _lines(rows: Iterable[dict[str, Any]], path: Path) -> bytes:
    return "".join(to_json(row, str(path), ascii=False) + "\n" for row in rows).encode()
