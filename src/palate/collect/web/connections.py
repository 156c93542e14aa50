"""How many connections a server keeps open, and how long each may take over every part of a request.

uvicorn limits only how long a connection may be idle after an answer. A client that opens connections and never sends
the end of a request's header would keep them all, until the process has no file descriptor left.
"""

from __future__ import annotations

import asyncio
import enum
import logging
import math
from collections import Counter
from collections.abc import Collection

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from palate.collect.web.addresses import Trusted, group_of

MOST = 1000
"""Open connections, of all addresses."""
EACH = 250
"""Of them, those of one address; a server in front, which speaks for many, may have all."""
SWEEP = 1.0
"""Seconds between two looks at all connections."""
REPORT = 60.0
"""Seconds between two lines in the log about closed connections."""
SLOWEST = 16 * 1024
"""Bytes a second at which a client takes an answer, at least."""

log = logging.getLogger("palate.collect.connections")


class Phase(enum.Enum):
    """What a connection waits for."""

    HEADER = "the rest of a request's header"
    IDLE = "another request"
    BODY = "the rest of a request's body"
    BUSY = "the study's answer"
    TAKING = "the client to take the last answer"


KEEP_ALIVE = 30
"""Seconds that a connection may be idle, for uvicorn, which sees to that itself. A server in front is to close idle
connections earlier, so that it never sends a request over one that closes: see the recipes in docs/collect.md."""
PATIENCE = {Phase.HEADER: 10.0, Phase.IDLE: math.inf, Phase.BODY: 30.0, Phase.BUSY: math.inf, Phase.TAKING: 30.0}
"""Seconds that each phase may last."""


class Connections:
    """All open connections of a server.

    One that is overdue is closed. Where there are too many, overall or of one address, the oldest that waits for a
    request is closed for the new one: so those who do send requests are served, however many do not.

    Args:
        most: open connections, overall.
        each: of one address; an IPv6 network of 64 bits counts as one address.
        proxies: addresses to which `each` does not apply.
    """

    def __init__(self, most: int = MOST, each: int = EACH, proxies: Trusted | None = None) -> None:
        self.most, self.each, self.proxies = most, min(each, most), proxies or Trusted(())
        self.closed: Counter[str] = Counter()
        """How many connections were closed since the last report, by reason."""
        self._open: dict[str, dict[Connection, None]] = {}  # by address; of each, the oldest first
        self._reported = -math.inf

    def all(self) -> list[Connection]:
        """Those that are open; of one address, the oldest first."""
        return [each for own in self._open.values() for each in own]

    def __len__(self) -> int:
        return sum(len(own) for own in self._open.values())

    def add(self, connection: Connection) -> None:
        """Takes a new connection in, and closes another for it, or the new one itself, where there are too many."""
        own = self._open.setdefault(connection.group, {})
        own[connection] = None
        if len(own) > self.each and connection.host not in self.proxies:
            self._make_room(own, connection)
        elif len(self) > self.most:
            self._make_room(sorted(self.all(), key=lambda each: each.since), connection)

    def remove(self, connection: Connection) -> None:
        """Forgets a connection that is closed."""
        own = self._open.get(connection.group, {})
        own.pop(connection, None)
        if not own:
            self._open.pop(connection.group, None)

    async def watch(self) -> None:
        """Closes what is overdue, until it is cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(SWEEP)
            self.sweep(loop.time())

    def sweep(self, now: float) -> None:
        """Closes what is overdue at a time, and reports now and then how many were closed and why."""
        for connection in self.all():
            if late := connection.overdue(now):
                self._close(connection, f"too slow: waited for {late.value}")
        if self.closed and now - self._reported >= REPORT:
            self._reported = now
            self.report()

    def report(self) -> None:
        """Writes how many connections were closed since the last report, if any."""
        if self.closed:
            reasons = ", ".join(f"{count} ({reason})" for reason, count in self.closed.most_common())
            log.warning("connections closed: %s; %d are open", reasons, len(self))
            self.closed.clear()

    def _make_room(self, candidates: Collection[Connection], new: Connection) -> None:
        """Closes the first candidate that waits for a header, else for a request, and so on."""
        for phase in (Phase.HEADER, Phase.IDLE, Phase.BODY, Phase.TAKING):
            for each in candidates:
                if each.awaits is phase and each is not new:
                    self._close(each, f"too many connections: the oldest that waited for {phase.value}")
                    return
        self._close(new, "too many connections: a new one, as all others are being served")

    def _close(self, connection: Connection, why: str) -> None:
        self.closed[why] += 1
        self.remove(connection)
        connection.transport.abort()


class Connection(H11Protocol):
    """A connection that says what it waits for, and since when; `limits` is set by `limited`."""

    limits: Connections
    phase = Phase.HEADER
    since = 0.0
    """When the phase began, by the clock of the event loop."""
    _taken_by: float | None = None
    """When the client is to have taken an answer that no socket holds, if there is one."""

    @property
    def host(self) -> str:
        """The other side's address; "" where it has none."""
        return self.client[0] if self.client else ""

    @property
    def group(self) -> str:
        """What the connection is counted under."""
        return group_of(self.host)

    @property
    def awaits(self) -> Phase:
        """What it waits for; while the client takes an answer, nothing else is due."""
        return self.phase if self._taken_by is None else Phase.TAKING

    def overdue(self, now: float) -> Phase | None:
        """What the client took too long for, if it did."""
        if self.transport.is_closing():
            self._turn(Phase.TAKING)
        end = self.since + PATIENCE[self.phase] if self._taken_by is None else self._taken_by
        return self.awaits if now > end else None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Counts a new connection."""
        super().connection_made(transport)
        self.since = self.loop.time()
        self.limits.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Counts one less."""
        self.limits.remove(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Takes a part of a request."""
        super().data_received(data)
        self._turn(self._awaited(Phase.HEADER))

    def on_response_complete(self) -> None:
        """Waits for the next request, once an answer is made."""
        self._turn(Phase.IDLE)
        super().on_response_complete()  # which may begin with the next request
        self._turn(self._awaited(Phase.IDLE))

    def pause_writing(self) -> None:
        """Gives the client a time that depends on the size of the answer, to take it."""
        super().pause_writing()
        size = self.transport.get_write_buffer_size()
        self._taken_by = self.loop.time() + PATIENCE[Phase.TAKING] + size / SLOWEST

    def resume_writing(self) -> None:
        """Notes that the client has taken it."""
        super().resume_writing()
        self._taken_by = None

    def _awaited(self, between: Phase) -> Phase:
        """What is waited for, by what was received and answered; `between` two requests."""
        if self.conn.their_state is h11.SEND_BODY:
            return Phase.BODY
        answering = self.cycle is not None and not self.cycle.response_complete
        return Phase.BUSY if answering else between

    def _turn(self, phase: Phase) -> None:
        if phase is not self.phase:
            self.phase, self.since = phase, self.loop.time()


def limited(limits: Connections) -> type[Connection]:
    """The protocol of a server whose connections are limited, for uvicorn's setting `http`."""
    return type("LimitedConnection", (Connection,), {"limits": limits})


def affordable(most: int = MOST, reserved: int = 256) -> int:
    """How many connections the process has file descriptors for; raises its own limit as far as that needs and may.

    Args:
        most: connections that are enough.
        reserved: descriptors for the database, pictures, logs, and connections that are about to be refused.
    """
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return most
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return most
    wanted = most + reserved if hard == resource.RLIM_INFINITY else min(most + reserved, hard)
    if soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (ValueError, OSError):  # a system that allows less than it says
            wanted = soft
    return max(most // 20, min(most, max(soft, wanted) - reserved))
