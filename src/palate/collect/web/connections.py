"""Limits on the number of open connections, and on the time that each may take for every part of a request.

uvicorn limits only the time that a connection may be idle after an answer. A client that opens connections and never
completes a request's header would keep all of them, until the process has no file descriptors left.
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
"""The maximum number of open connections, of all addresses together."""
EACH = 250
"""The maximum for one address; a trusted proxy, which has many clients, may have `MOST`."""
SWEEP = 1.0
"""Seconds between two checks of all connections."""
REPORT = 60.0
"""Seconds between two lines in the log about closed connections."""
SLOWEST = 16 * 1024
"""The minimum rate, in bytes a second, at which a client must receive an answer."""

log = logging.getLogger("palate.collect.connections")


class Phase(enum.Enum):
    """The event that a connection waits for."""

    HEADER = "the rest of a request's header"
    IDLE = "another request"
    BODY = "the rest of a request's body"
    BUSY = "the study's answer"
    TAKING = "the client to take the last answer"


KEEP_ALIVE = 30
"""Seconds that a connection may be idle; uvicorn itself checks this limit. A proxy must close idle connections earlier,
so that it never sends a request over one that is being closed: see the recipes in docs/collect.md."""
PATIENCE = {Phase.HEADER: 10.0, Phase.IDLE: math.inf, Phase.BODY: 30.0, Phase.BUSY: math.inf, Phase.TAKING: 30.0}
"""Seconds that each phase may last."""


class Connections:
    """All open connections of a server.

    A connection that exceeds a time limit is closed. If there are too many, in total or of one address, the oldest that
    waits for a request is closed in favour of the new one. So clients that send requests are served, even while many
    others send none.

    Args:
        most: the maximum in total.
        each: the maximum for one address; an IPv6 network of 64 bits counts as one address.
        proxies: addresses to which `each` does not apply.
    """

    def __init__(self, most: int = MOST, each: int = EACH, proxies: Trusted | None = None) -> None:
        self.most, self.each, self.proxies = most, min(each, most), proxies or Trusted(())
        self.closed: Counter[str] = Counter()
        """How many connections were closed since the last report, by reason."""
        self._open: dict[str, dict[Connection, None]] = {}  # by address, each in order of age, the oldest first
        self._reported = -math.inf

    def all(self) -> list[Connection]:
        """The open connections; those of one address in order of age, the oldest first."""
        return [each for own in self._open.values() for each in own]

    def __len__(self) -> int:
        return sum(len(own) for own in self._open.values())

    def add(self, connection: Connection) -> None:
        """Adds a new connection; if there are too many then, closes another one, or the new one itself."""
        own = self._open.setdefault(connection.group, {})
        own[connection] = None
        if len(own) > self.each and connection.host not in self.proxies:
            self._close_one(own, connection)
        elif len(self) > self.most:
            self._close_one(sorted(self.all(), key=lambda each: each.since), connection)

    def remove(self, connection: Connection) -> None:
        """Removes a connection that is closed."""
        own = self._open.get(connection.group, {})
        own.pop(connection, None)
        if not own:
            self._open.pop(connection.group, None)

    async def watch(self) -> None:
        """Checks all connections once a second, until this coroutine is cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(SWEEP)
            self.sweep(loop.time())

    def sweep(self, now: float) -> None:
        """Closes connections that exceed a time limit at `now`, and logs once a minute how many were closed and why."""
        for connection in self.all():
            if late := connection.overdue(now):
                self._close(connection, f"too slow: waited for {late.value}")
        if self.closed and now - self._reported >= REPORT:
            self._reported = now
            self.report()

    def report(self) -> None:
        """Logs how many connections were closed since the last report, if any."""
        if self.closed:
            reasons = ", ".join(f"{count} ({reason})" for reason, count in self.closed.most_common())
            log.warning("connections closed: %s; %d are open", reasons, len(self))
            self.closed.clear()

    def _close_one(self, candidates: Collection[Connection], new: Connection) -> None:
        """Closes the first candidate in the first of these phases that any candidate is in; else the new connection."""
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
    """A connection that knows which event it waits for, and since when; `limited` sets `limits`."""

    limits: Connections
    phase = Phase.HEADER
    since = 0.0
    """When the phase began, by the clock of the event loop."""
    _taken_by: float | None = None
    """Until when the client must receive an answer that does not fit into the socket's buffer; None without one."""

    @property
    def host(self) -> str:
        """The address of the client; "" where it has none."""
        return self.client[0] if self.client else ""

    @property
    def group(self) -> str:
        """The group in which the connection is counted."""
        return group_of(self.host)

    @property
    def awaits(self) -> Phase:
        """The event that it waits for; while the client receives an answer, no other time limit applies."""
        return self.phase if self._taken_by is None else Phase.TAKING

    def overdue(self, now: float) -> Phase | None:
        """The phase whose time limit is exceeded at `now`; None where none is."""
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
        """Removes the connection from the count."""
        self.limits.remove(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Receives a part of a request."""
        super().data_received(data)
        self._turn(self._awaited(Phase.HEADER))

    def on_response_complete(self) -> None:
        """Waits for the next request, once an answer is complete."""
        self._turn(Phase.IDLE)
        super().on_response_complete()  # which may already begin the next request
        self._turn(self._awaited(Phase.IDLE))

    def pause_writing(self) -> None:
        """Sets the time until which the client must receive the answer, by its size."""
        super().pause_writing()
        size = self.transport.get_write_buffer_size()
        self._taken_by = self.loop.time() + PATIENCE[Phase.TAKING] + size / SLOWEST

    def resume_writing(self) -> None:
        """Removes that time: the client has received the answer."""
        super().resume_writing()
        self._taken_by = None

    def _awaited(self, between: Phase) -> Phase:
        """The phase, from what was received and answered so far; `between` is the phase between two requests."""
        if self.conn.their_state is h11.SEND_BODY:
            return Phase.BODY
        answering = self.cycle is not None and not self.cycle.response_complete
        return Phase.BUSY if answering else between

    def _turn(self, phase: Phase) -> None:
        if phase is not self.phase:
            self.phase, self.since = phase, self.loop.time()


def limited(limits: Connections) -> type[Connection]:
    """The class of a server's limited connections, for uvicorn's setting `http`."""
    return type("LimitedConnection", (Connection,), {"limits": limits})


def affordable(most: int = MOST, reserved: int = 256) -> int:
    """The number of connections that the process has file descriptors for, after raising its own limit where it can.

    Args:
        most: the number of connections that is enough.
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
        except (ValueError, OSError):  # the system allows less than it states
            wanted = soft
    return max(most // 20, min(most, max(soft, wanted) - reserved))
