"""What was left out on the way from a source to a record, and why: nothing is lost silently."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from palate.core.errors import InputError


@dataclass
class Tally:
    """Counts what a reader leaves out.

    Args:
        skip_bad: bad rows are counted and left out; otherwise the first one ends the reading.
        hint: what the error of the first bad row adds: how to have such rows left out, or nothing where that cannot be.
    """

    skip_bad: bool = False
    hint: str = "--skip-bad leaves such rows out and counts them"
    dropped: Counter[str] = field(default_factory=Counter)
    """How many sound rows the new format has no place for, by reason."""
    bad: list[str] = field(default_factory=list)
    """The message of each bad row that was left out."""
    facts: dict[str, str] = field(default_factory=dict)
    """What else a summary says of the source, such as which split of it was read."""

    def drop(self, reason: str, number: int = 1) -> None:
        """Counts sound rows, or parts of one, that have no place in the result; none where `number` is 0."""
        if number:
            self.dropped[reason] += number

    @contextmanager
    def row(self, name: str) -> Iterator[None]:
        """The reading of one row: an `InputError` inside counts the row as bad, or is raised with the row's name."""
        try:
            yield
        except InputError as error:
            message = f"{name}: {error}"
            if not self.skip_bad:
                raise InputError(f"{message}; {self.hint}" if self.hint else message) from error
            self.bad.append(message)

    def summary(self) -> dict[str, int | str]:
        """The counts by reason, bad rows among them, and the facts."""
        return {**self.dropped, **({"bad rows": len(self.bad)} if self.bad else {}), **self.facts}
