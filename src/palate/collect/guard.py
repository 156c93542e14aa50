"""What every request passes before anything else: limits on rate and body, and headers on every answer."""

from __future__ import annotations

import json
import time
from collections import OrderedDict
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from palate.collect.secrets import hashed
from palate.collect.session import OWNER, RATER

LARGEST_BODY = 64 * 1024
BURST_SECONDS = 10.0
CLIENTS = 10_000
"""How many clients' rates are remembered."""

HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}


class Guard:
    """An ASGI app around another.

    Args:
        app: the other.
        rate: requests a second that a client may send on average; in bursts, ten seconds' worth.
    """

    def __init__(self, app: ASGIApp, rate: float) -> None:
        self.app, self.rate, self.burst = app, rate, rate * BURST_SECONDS
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

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

        if not self._admitted(_client(scope, headers)):
            await _refuse(with_headers, 429, "too many requests; wait a moment", {"retry-after": "2"})
        elif _announced(headers) > LARGEST_BODY:
            await _refuse(with_headers, 413, f"a request has at most {LARGEST_BODY} bytes")
        else:
            await self._serve(scope, receive, with_headers)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves a request whose body may turn out to be longer than it said."""
        taken, started = 0, False

        async def counted() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > LARGEST_BODY:
                raise _TooLarge
            return message

        async def noted(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self.app(scope, counted, noted)
        except _TooLarge:
            if not started:
                await _refuse(send, 413, f"a request has at most {LARGEST_BODY} bytes")

    def _admitted(self, client: str) -> bool:
        """A token bucket a client: `rate` tokens a second flow in, `burst` fit, a request takes one."""
        now = time.monotonic()
        left, since = self._buckets.pop(client, (self.burst, now))
        left = min(self.burst, left + (now - since) * self.rate)
        self._buckets[client] = (left - 1 if left >= 1 else left, now)
        if len(self._buckets) > CLIENTS:
            self._buckets.popitem(last=False)
        return left >= 1


class _TooLarge(Exception):  # noqa: N818  # caught above, never seen
    pass


def _client(scope: Scope, headers: dict[str, str]) -> str:
    """A rater's or the owner's cookie, else the address, behind which there may be many people."""
    for part in headers.get("cookie", "").split(";"):
        name, _, value = part.strip().partition("=")
        if name in (RATER, OWNER) and len(value) == 43:
            return f"{name}:{hashed(value)}"
    return f"address:{(scope.get('client') or ('',))[0]}"


def _announced(headers: dict[str, str]) -> int:
    length = headers.get("content-length", "0")
    return int(length) if length.isdecimal() else LARGEST_BODY + 1


def _completed(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    there = {name.lower() for name, _ in headers}
    more = {**HEADERS, "cache-control": "no-store"}
    added = [(name.encode(), value.encode()) for name, value in more.items() if name.encode() not in there]
    return [*headers, *added]


async def _refuse(send: Send, status: int, message: str, headers: dict[str, str] | None = None) -> None:
    body = json.dumps({"detail": message}).encode()
    told: dict[str, Any] = {"content-type": "application/json", "content-length": str(len(body)), **(headers or {})}
    pairs = [(name.encode(), value.encode()) for name, value in told.items()]
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": body})
