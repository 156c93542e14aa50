"""The count of what a reader leaves out, with the reasons, so that nothing is lost silently."""

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
        skip_bad: leave bad rows out and count them; otherwise the first bad row raises an error.
        hint: text added to the error of a bad row, on how to leave such rows out; may be empty.
    """

    skip_bad: bool = False
    hint: str = "--skip-bad leaves such rows out and counts them"
    dropped: Counter[str] = field(default_factory=Counter)
    """The number of correct rows that the new format cannot represent, by reason."""
    bad: list[str] = field(default_factory=list)
    """The message of each bad row that was left out."""
    facts: dict[str, str] = field(default_factory=dict)
    """Other facts for the summary, such as which split of the source was read."""

    def drop(self, reason: str, number: int = 1) -> None:
        """Counts correct rows, or parts of rows, that the result cannot represent; does nothing where `number` is 0."""
        if number:
            self.dropped[reason] += number

    @contextmanager
    def row(self, name: str) -> Iterator[None]:
        """A block that reads one row: an `InputError` in it counts the row as bad, or is raised with the row's name."""
        try:
            yield
        except InputError as error:
            message = f"{name}: {error}"
            if not self.skip_bad:
                raise InputError(f"{message}; {self.hint}" if self.hint else message) from error
            self.bad.append(message)

    def summary(self) -> dict[str, int | str]:
        """The counts by reason, including bad rows, and the facts."""
        return {**self.dropped, **({"bad rows": len(self.bad)} if self.bad else {}), **self.facts}
