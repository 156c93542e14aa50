"""Progress with rate and time left: a bar on a terminal, a line every ten seconds elsewhere, on stderr.

`PALATE_PROGRESS=0` silences both.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol, TypeVar

LINE_EVERY = 10.0  # seconds between two lines where there is no terminal

T = TypeVar("T")


class Bar(Protocol):
    """How a stage reports its progress."""

    def advance(self, n: int = 1) -> None:
        """`n` more items are done."""

    def set(self, text: str) -> None:
        """Shows a short text beside the numbers, such as the loss."""


def track(iterable: Iterable[T], description: str, total: int | None = None) -> Iterator[T]:
    """Yields the items and shows how many are done; `total` is only needed where the iterable has no length."""
    length = getattr(iterable, "__len__", lambda: None)()
    with bar(description, length if total is None else total) as progress:
        for item in iterable:
            yield item
            progress.advance()


@contextmanager
def bar(description: str, total: int | None, *, done: int = 0) -> Iterator[Bar]:
    """Shows progress for as long as the block lasts.

    Args:
        description: what is being done, in a word or two.
        total: how many items there are, None where that is unknown.
        done: how many items an earlier run of the process completed; they do not count towards the rate.
    """
    if os.environ.get("PALATE_PROGRESS") == "0":
        yield _Silent()
    elif sys.stderr.isatty():
        from palate.core.terminal import terminal_bar

        with terminal_bar(description, total, done) as shown:
            yield shown
    else:
        lines = _Lines(description, total, done)
        yield lines
        lines.close()


def note(text: str) -> None:
    """Prints a message to the user on stderr while work goes on, above the progress bar where there is one.

    Unlike progress, `PALATE_PROGRESS=0` does not silence it.
    """
    if "palate.core.terminal" in sys.modules:
        from palate.core.terminal import terminal_note

        terminal_note(text)
    else:
        print(text, file=sys.stderr, flush=True)


def duration(seconds: float) -> str:
    """A duration as text: `42 s`, `3 min 5 s`, `2 h 10 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


class _Silent:
    def advance(self, n: int = 1) -> None: ...

    def set(self, text: str) -> None: ...


class _Lines:
    """Progress for a log file; work shorter than `LINE_EVERY` prints nothing."""

    def __init__(self, description: str, total: int | None, done: int) -> None:
        self._description, self._total, self._done, self._begun = description, total, done, done
        self._start = self._last = time.monotonic()
        self._text, self._printed = "", False

    def advance(self, n: int = 1) -> None:
        self._done += n
        if time.monotonic() - self._last >= LINE_EVERY:
            self._print(*self._pace())

    def set(self, text: str) -> None:
        self._text = text

    def close(self) -> None:
        if self._printed:
            self._print(f"in {duration(time.monotonic() - self._start)}")

    def _pace(self) -> Iterator[str]:
        rate = (self._done - self._begun) / (time.monotonic() - self._start)
        yield f"{rate:.3g}/s"
        if self._total and rate:
            yield f"{duration((self._total - self._done) / rate)} left"

    def _print(self, *pace: str) -> None:
        count = f"{self._done}/{self._total} ({self._done / self._total:.0%})" if self._total else str(self._done)
        line = ", ".join(part for part in (count, *pace, self._text) if part)
        print(f"{self._description}: {line}", file=sys.stderr, flush=True)
        self._last, self._printed = time.monotonic(), True
