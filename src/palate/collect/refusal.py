"""The error for a request that a study refuses."""

from __future__ import annotations

from palate.core.errors import PalateError


class Refusal(PalateError):  # noqa: N818  # it is an answer, not a fault
    """A request that is refused.

    Args:
        status: the HTTP status: 400 malformed, 401 without a session, 403 not allowed, 404 does not exist or may not be
            seen, 409 too late or repeated.
        message: one sentence, shown to the rater.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
