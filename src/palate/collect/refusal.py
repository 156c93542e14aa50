"""The error for a request that a study refuses."""

from __future__ import annotations

from palate.core.errors import PalateError


class Refusal(PalateError):  # noqa: N818  # it is an answer, not a fault
    """A request that is refused.

    Args:
        status: as of HTTP: 400 malformed, 401 without a session, 403 not yours to do, 404 not there, or not yours to
            know of, 409 too late or twice.
        message: one sentence, shown to the rater.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
