"""The progress bar of a terminal, by rich; imported only where there is a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

_live: list[Progress] = []  # the one display on the screen, so that a bar inside another is added to it


@contextmanager
def terminal_bar(description: str, total: int | None, done: int) -> Iterator[_TerminalBar]:
    """A bar in the display on the screen, or in a new one; an inner bar is removed at the end of its block."""
    if _live:
        inner = _live[0].add_task(description, total=total, completed=done, text="")
        try:
            yield _TerminalBar(_live[0], inner)
        finally:
            _live[0].remove_task(inner)
        return
    with _new_display() as display:
        _live.append(display)
        try:
            yield _TerminalBar(display, display.add_task(description, total=total, completed=done, text=""))
        finally:
            _live.clear()


def terminal_note(text: str) -> None:
    """Prints a line above the display on the screen, or where there is none, on stderr."""
    console = _live[0].console if _live else Console(stderr=True)
    console.print(text, markup=False, highlight=False, soft_wrap=True)


class _TerminalBar:
    def __init__(self, display: Progress, task: TaskID) -> None:
        self._display, self._task = display, task

    def advance(self, n: int = 1) -> None:
        self._display.advance(self._task, n)

    def set(self, text: str) -> None:
        self._display.update(self._task, text=text)


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:.3g}/s" if speed else "", style="progress.data.speed")


def _new_display() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(elapsed_when_finished=True),
        TextColumn("{task.fields[text]}"),
        console=Console(stderr=True),
    )
