"""Limits on the rate of each client's requests."""

from __future__ import annotations

import time
from collections import OrderedDict

from sqlalchemy import select
from starlette.concurrency import run_in_threadpool

from palate.collect.database_rows import RaterRow, StudyRow
from palate.collect.secrets import token_hash
from palate.collect.study import OpenStudy

BURST_SECONDS = 10.0
CLIENTS = 10_000
"""The maximum number of clients whose rates are stored."""
REREAD = 1.0
"""The minimum number of seconds between two readings of the study's tokens."""


class Buckets:
    """A token bucket for each client: `rate` requests a second on average, and those of ten seconds at once.

    Args:
        rate: requests a second.
    """

    def __init__(self, rate: float) -> None:
        self.rate, self.burst = rate, rate * BURST_SECONDS
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, client: str) -> bool:
        """Whether a client may send a request now; if so, counts it."""
        now = time.monotonic()
        left, since = self._left.pop(client, (self.burst, now))
        left = min(self.burst, left + (now - since) * self.rate)
        self._left[client] = (left - 1 if left >= 1 else left, now)
        if len(self._left) > CLIENTS:
            self._left.popitem(last=False)
        return left >= 1


class Tokens:
    """The valid tokens of a study, for limits only: the database decides at each request who may do what.

    The hashes of all tokens are kept in memory, so that invented tokens cause no query each.

    Args:
        study: the study of the raters and the owner.
    """

    def __init__(self, study: OpenStudy) -> None:
        self._study = study
        self._hashes: frozenset[str] = frozenset()
        self._next = 0.0

    async def known(self, token: str) -> str | None:
        """The hash of a token that is a rater's or the owner's, else None; a new one may be unknown for a second, or
        for longer where there are very many."""
        digest = token_hash(token)
        if digest not in self._hashes and (start := time.monotonic()) >= self._next:
            self._next = start + REREAD  # so that no other task reads at the same time
            self._hashes = await run_in_threadpool(self._read)
            end = time.monotonic()
            self._next = end + max(REREAD, 20 * (end - start))
        return digest if digest in self._hashes else None

    def _read(self) -> frozenset[str]:
        with self._study.database.read() as session:
            return frozenset(
                [*session.scalars(select(RaterRow.token_hash)), *session.scalars(select(StudyRow.owner_hash))]
            )
