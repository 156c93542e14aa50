"""The checks of every request before it is handled: limits on rate and size, and headers of every answer."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable

from fastapi import Request
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from palate.collect.config import ServeConfig
from palate.collect.study import OpenStudy
from palate.collect.web import session
from palate.collect.web.addresses import Trusted, client_of, group_of
from palate.collect.web.rates import Buckets, Tokens

FILES = ("/static", "/owner/static")
"""The paths of the pages' own files, for raters and for the owner."""
LARGEST_BODY = 64 * 1024
STRANGERS = 5
"""The limit for all clients without a valid token together, as a multiple of the limit for one client."""
TOO_LARGE = f"a request has at most {LARGEST_BODY} bytes"
TOO_MANY = "too many requests; wait a moment, then reload the page"
AGAIN = "2"
"""Seconds after which a client that was refused may try again (the header Retry-After)."""

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
"""The headers that are added to every answer that lacks them."""
_ADDED = [(name.encode(), value.encode()) for name, value in ADDED.items()]
_LINK = re.compile(r"/(?:r|owner/enter)/([\w-]{43})", re.ASCII)

log = logging.getLogger("palate.collect.guard")
Refuse = Callable[[Request, int, str], Response]


class Guard:
    """An ASGI app that checks each request before it passes it to another ASGI app.

    A client with a valid token, in a cookie or a link, has a limit of its own. All other clients of one address share a
    limit, and those of all addresses share another: they can block each other, but no client with a valid token.

    Args:
        app: the other app.
        study: the study whose tokens are valid.
        serve: the limits, the proxies, and the common beginning of all paths.
        refuse: makes the answer to a refused request from a status and a sentence.
    """

    def __init__(self, app: ASGIApp, study: OpenStudy, serve: ServeConfig, refuse: Refuse) -> None:
        self.app, self.path, self.refuse = app, serve.path, refuse
        self._trusted, self._tokens = Trusted(serve.behind_proxy), Tokens(study)
        self._cookies = session.cookie_of(study, session.RATER), session.cookie_of(study, session.OWNER)
        self._clients, self._strangers = Buckets(serve.rate), Buckets(STRANGERS * serve.rate)
        self._warned = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request, or refuses it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        scope = self._as_raters_see_it(scope)
        request = Request(scope)

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = _completed(message["headers"])
            await send(message)

        if not await self._admitted(request):
            answer = self.refuse(request, 429, TOO_MANY)
            answer.headers["retry-after"] = AGAIN
            await answer(scope, receive, with_headers)
        elif _announced(request) > LARGEST_BODY:
            await self.refuse(request, 413, TOO_LARGE)(scope, receive, with_headers)
        else:
            await self.app(scope, _counted(receive), with_headers)

    def _as_raters_see_it(self, scope: Scope) -> Scope:
        """The request with the study's own path, whether or not a proxy removed the common beginning, and with the
        scheme that the client used, as a trusted proxy states it."""
        path, scheme = scope["path"], scope["scheme"]
        raw: bytes = scope.get("raw_path") or b""
        if self.path and (path == self.path or path.startswith(self.path + "/")):
            path, raw = path.removeprefix(self.path) or "/", raw.removeprefix(self.path.encode()) or b"/"
        forwarded = _header(scope, b"x-forwarded-proto")
        if forwarded in ("http", "https") and _peer(scope) in self._trusted:
            scheme = forwarded
        return {**scope, "path": path, "raw_path": raw, "scheme": scheme}

    async def _admitted(self, request: Request) -> bool:
        path = request.scope["path"]
        files = " files" if path.startswith(FILES) else ""  # a client that is refused still gets the page's style
        if (token := self._token(request, path)) and (known := await self._tokens.known(token)):
            return self._clients.take(known + files)
        return self._clients.take(self._address(request) + files) and self._strangers.take("all" + files)

    def _token(self, request: Request, path: str) -> str | None:
        """The token of a request: of the link that it opens, else of the owner's or a rater's cookie, by the path."""
        if link := _LINK.fullmatch(path):
            return link[1]
        return request.cookies.get(self._cookies[path.startswith("/owner")])

    def _address(self, request: Request) -> str:
        peer, forwarded = _peer(request.scope), ",".join(request.headers.getlist("x-forwarded-for"))
        if forwarded and peer not in self._trusted and not self._warned:
            self._warned = True
            log.warning("requests come with X-Forwarded-For, which is not read; if %s is a server in front of this "
                        "one, give --behind-proxy %s", peer, peer)  # fmt: skip
        return group_of(client_of(peer, forwarded, self._trusted))


def _peer(scope: Scope) -> str:
    return (scope.get("client") or ("",))[0]


def _header(scope: Scope, name: bytes) -> str:
    return next((value.decode("latin-1") for key, value in scope["headers"] if key == name), "")


def _counted(receive: Receive) -> Receive:
    """Refuses a body that is longer than the maximum, whatever its header states."""
    taken = 0

    async def counted() -> Message:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        if taken > LARGEST_BODY:
            raise HTTPException(413, TOO_LARGE)
        return message

    return counted


def _announced(request: Request) -> int:
    length = request.headers.get("content-length", "0")
    return int(length) if length.isdecimal() and len(length) < 20 else LARGEST_BODY + 1


def _completed(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    there = {name.lower() for name, _ in headers}
    return [*headers, *(pair for pair in _ADDED if pair[0] not in there)]
