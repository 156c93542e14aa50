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
"""Bytes of the file, after which it is put aside under another name."""
KEPT = 3
"""Files that were put aside and are kept."""
OFTEN = 5
"""Messages of one kind in a minute that are written; the others are counted."""
MINUTE = 60.0
LOGGERS = ("palate", "uvicorn.error", "asyncio")
_TOKEN = re.compile(r"(?<![\w-])[\w-]{43}(?![\w-])")
"""What a rater's or the owner's link ends in (see `secrets.new_token`)."""


class Throttled(logging.Handler):
    """Passes messages on to other handlers, of each kind a few in a minute.

    A kind is a logger with a message before anything is put into it, so that nobody can make up new kinds.

    Args:
        targets: the handlers.
        often: messages of one kind in a minute; how many more there were is said with the next one after that.
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
    """A file that only its owner can read; a disk that is full ends no request and fills no screen."""

    def _open(self):  # as logging has it
        def private(name: str, flags: int) -> int:
            return os.open(name, flags, 0o600)

        return open(self.baseFilename, self.mode, encoding=self.encoding, opener=private)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  # as logging has it
        """Leaves the message out."""


class _Full(logging.Formatter):
    """A message with its time and its traceback, one line each, without tokens and control characters."""

    def format(self, record: logging.LogRecord) -> str:
        first, *rest = super().format(record).rstrip().splitlines()
        return "\n".join(_plain(line) for line in [first, *(f"    {line}" for line in rest)])


class _Short(logging.Formatter):
    """A message, and of an exception its last line: the file has the rest."""

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
    """Writes what the server has to say into a file of the study's folder while the block lasts, and warnings on the
    screen too; where the file cannot be written, on the screen alone."""
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
    """A line that writes nothing but itself to a terminal, and no token."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in _TOKEN.sub("(token)", line))
