"""What happens between the steps of a training besides training itself, such as validation and a report."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Observer(Protocol):
    """Called by the step loop. It must not change anything that the steps depend on."""

    def resumed(self, done: int) -> None:
        """The run goes on after `done` steps, 0 being its beginning; what was observed after that is made again."""
        ...

    def due(self, done: int) -> bool:
        """Whether `observe` still has to run after `done` steps; the loop then saves a checkpoint first."""
        ...

    def observe(self, done: int, interrupted: Callable[[], bool]) -> bool:
        """Observes the training after `done` steps, 0 being its beginning.

        Args:
            done: number of steps that are done.
            interrupted: whether Ctrl-C was pressed in this process; long work asks it again and again.

        Returns:
            Whether all of it was done. If not, the loop raises KeyboardInterrupt, and the resumed run observes again.
        """
        ...

    def logged(self) -> None:
        """A line of metrics was written."""
        ...
