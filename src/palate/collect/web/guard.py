"""What every request passes before anything else: limits on rate and body, and headers on every answer."""

from __future__ import annotations

import json
import time
from collections import OrderedDict
from typing import Any

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from palate.collect.secrets import hashed
from palate.collect.web.session import KNOWN, OWNER, RATER

LARGEST_BODY = 64 * 1024
BURST_SECONDS = 10.0
CLIENTS = 10_000
"""How many clients' rates are remembered."""
TOO_LARGE = f"a request has at most {LARGEST_BODY} bytes"

HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}
ADDED = {**HEADERS, "cache-control": "no-store"}
"""What every answer has that says nothing else itself."""
_ADDED = [(name.encode(), value.encode()) for name, value in ADDED.items()]


class Guard:
    """An ASGI app around another.

    Whoever showed a valid cookie once is counted alone; all others of one address are counted together, whatever
    cookies they make up.

    Args:
        app: the other.
        rate: requests a second that a client may send on average; in bursts, ten seconds' worth.
    """

    def __init__(self, app: ASGIApp, rate: float) -> None:
        self.app, self.rate, self.burst = app, rate, rate * BURST_SECONDS
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._known: OrderedDict[str, None] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request, or refuses it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = _completed(message["headers"])
            await send(message)

        if not self._admitted(self._client(scope, headers)):
            await _refuse(with_headers, 429, "too many requests; wait a moment", {"retry-after": "2"})
        elif _announced(headers) > LARGEST_BODY:
            await _refuse(with_headers, 413, TOO_LARGE)
        else:
            state = scope.setdefault("state", {})
            await self.app(scope, _counted(receive), with_headers)
            self._remember(state.get(KNOWN))

    def _client(self, scope: Scope, headers: dict[str, str]) -> str:
        """A rater's or the owner's cookie, else the address, behind which there may be many people."""
        for part in headers.get("cookie", "").split(";"):
            name, _, value = part.strip().partition("=")
            if name in (RATER, OWNER) and (known := f"{name}:{hashed(value)}") in self._known:
                return known
        return f"address:{(scope.get('client') or ('',))[0]}"

    def _remember(self, known: str | None) -> None:
        if known is not None:
            self._known[known] = None
            self._known.move_to_end(known)
            if len(self._known) > CLIENTS:
                self._known.popitem(last=False)

    def _admitted(self, client: str) -> bool:
        """A token bucket a client: `rate` tokens a second flow in, `burst` fit, a request takes one."""
        now = time.monotonic()
        left, since = self._buckets.pop(client, (self.burst, now))
        left = min(self.burst, left + (now - since) * self.rate)
        self._buckets[client] = (left - 1 if left >= 1 else left, now)
        if len(self._buckets) > CLIENTS:
            self._buckets.popitem(last=False)
        return left >= 1


def _counted(receive: Receive) -> Receive:
    """Refuses a body that turns out to be longer than it said."""
    taken = 0

    async def counted() -> Message:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        if taken > LARGEST_BODY:
            raise HTTPException(413, TOO_LARGE)
        return message

    return counted


def _announced(headers: dict[str, str]) -> int:
    length = headers.get("content-length", "0")
    return int(length) if length.isdecimal() and len(length) < 20 else LARGEST_BODY + 1


def _completed(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    there = {name.lower() for name, _ in headers}
    return [*headers, *(pair for pair in _ADDED if pair[0] not in there)]


async def _refuse(send: Send, status: int, message: str, headers: dict[str, str] | None = None) -> None:
    body = json.dumps({"detail": message}).encode()
    told: dict[str, Any] = {"content-type": "application/json", "content-length": str(len(body)), **(headers or {})}
    pairs = [(name.encode(), value.encode()) for name, value in told.items()]
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": body})
