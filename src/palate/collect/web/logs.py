"""The server's log: a file in the study's folder that stays small, and short lines on the screen."""

from __future__ import annotations

import logging
import os
import re
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from logging.handlers import RotatingFileHandler
from pathlib import Path

FILE = "serve.log"
LARGEST = 1_000_000
"""The maximum size of the file in bytes; a full file is renamed, and a new one begun."""
KEPT = 3
"""How many renamed files are kept."""
OFTEN = 5
"""How many messages of one kind are written in a minute; the others are only counted."""
MINUTE = 60.0
LOGGERS = ("palate", "uvicorn.error", "asyncio")
_TOKEN = re.compile(r"(?<![\w-])[\w-]{43}(?![\w-])")
"""The token at the end of a rater's or the owner's link (see `secrets.new_token`)."""


class Throttled(logging.Handler):
    """Passes messages on to other handlers, only a few of each kind in a minute.

    A kind is a logger with a message before values are inserted into it, so that no client can create new kinds.

    Args:
        targets: the handlers.
        often: the maximum number of messages of one kind in a minute; the next one after that states how many were left
            out.
    """

    def __init__(self, targets: Sequence[logging.Handler], often: int = OFTEN) -> None:
        super().__init__()
        self.targets, self.often = targets, often
        self._seen: Counter[tuple[str, str, str]] = Counter()
        self._left_out: Counter[tuple[str, str, str]] = Counter()
        self._since = time.monotonic()

    def emit(self, record: logging.LogRecord) -> None:
        """Writes a message, or counts it."""
        if (now := time.monotonic()) - self._since >= MINUTE:
            self._left_out = Counter({kind: n - self.often for kind, n in self._seen.items() if n > self.often})
            self._seen.clear()
            self._since = now
        first = record.msg.partition("\n")[0] if isinstance(record.msg, str) else type(record.msg).__name__
        raised = record.exc_info[0].__name__ if record.exc_info and record.exc_info[0] else ""
        kind = record.name, first, raised
        self._seen[kind] += 1
        if self._seen[kind] > self.often:
            return
        if missed := self._left_out.pop(kind, 0):
            again = logging.makeLogRecord(
                {**record.__dict__, "msg": f"{record.getMessage().strip()} ({missed} more before)"}
            )
            again.args = None
            record = again
        for target in self.targets:
            if record.levelno >= target.level:
                target.handle(record)

    def close(self) -> None:
        """Closes the handlers, too."""
        for target in self.targets:
            target.close()
        super().close()


class _File(RotatingFileHandler):
    """A log file that only its owner can read; an error in writing it, such as a full disk, is ignored."""

    def _open(self):  # as logging has it
        def private(name: str, flags: int) -> int:
            return os.open(name, flags, 0o600)

        return open(self.baseFilename, self.mode, encoding=self.encoding, opener=private)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  # as logging has it
        """Leaves the message out."""


class _Full(logging.Formatter):
    """Formats a message with its time and traceback, without tokens and control characters."""

    def format(self, record: logging.LogRecord) -> str:
        first, *rest = super().format(record).rstrip().splitlines()
        return "\n".join(_plain(line) for line in [first, *(f"    {line}" for line in rest)])


class _Short(logging.Formatter):
    """Formats a message, and the last line of an exception; the file has the full traceback."""

    def __init__(self, file: Path | None) -> None:
        super().__init__()
        self._more = f"; {file} has more" if file else ""

    def format(self, record: logging.LogRecord) -> str:
        text = record.getMessage().strip().partition("\n")[0]
        if record.exc_info and (error := record.exc_info[1]):
            text = f"{text}: {type(error).__name__}: {str(error).partition(chr(10))[0]}{self._more}"
        return f"{record.levelname.lower()}: {_plain(text)}"


@contextmanager
def logging_to(folder: Path) -> Iterator[None]:
    """Writes the server's messages into a file in the study's folder during the block, and warnings to the screen
    too; to the screen only, where the file cannot be written."""
    screen = logging.StreamHandler(sys.stderr)
    screen.setLevel(logging.WARNING)
    targets: list[logging.Handler] = [screen]
    try:
        file = _File(folder / FILE, maxBytes=LARGEST, backupCount=KEPT, encoding="utf-8")
        file.setFormatter(_Full("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        targets.append(file)
    except OSError:
        pass
    screen.setFormatter(_Short(folder / FILE if len(targets) > 1 else None))
    funnel = Throttled(targets)
    loggers = [logging.getLogger(name) for name in LOGGERS]
    before = [(each.level, each.propagate) for each in loggers]
    for each in loggers:
        each.addHandler(funnel)
        each.setLevel(logging.INFO if each.name == "palate" else logging.WARNING)
        each.propagate = False
    try:
        yield
    finally:
        for each, (level, propagate) in zip(loggers, before):
            each.removeHandler(funnel)
            each.setLevel(level)
            each.propagate = propagate
        funnel.close()


def _plain(line: str) -> str:
    """A line without tokens and without characters that control a terminal."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in _TOKEN.sub("(token)", line))
