"""`palate collect serve`: serves the web app at an address until it is stopped."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from types import FrameType

import uvicorn
from fastapi import FastAPI

from palate.collect.claim import claimed
from palate.collect.config import ServeConfig
from palate.collect.quality.apart import Apart
from palate.collect.study import OpenStudy, open_study
from palate.collect.web.addresses import Trusted, reachable
from palate.collect.web.app import create_app
from palate.collect.web.connections import KEEP_ALIVE, Connections, affordable, limited
from palate.collect.web.logs import logging_to
from palate.core.errors import PalateError

SWITCH = 5e-4
"""Seconds that a thread keeps the interpreter while others wait for it, a tenth of Python's default: a request passes
through several threads and may wait that long for each of them."""

BACKLOG = 2048
"""Connections that may wait to be accepted."""

AT_ONCE = 64
"""Connections that are accepted before their limit is checked again; fewer than `affordable` reserves."""

LAST_ANSWERS = 10
"""Seconds in which requests may end when the server is stopped."""

log = logging.getLogger("palate.collect.server")


def serve(
    config: ServeConfig, ready: Callable[[OpenStudy, Sequence[str]], None] = lambda study, addresses: None
) -> None:
    """Serves a study until Ctrl-C or SIGTERM; errors are written into `serve.log` in the study's folder.

    Args:
        config: the study, the address and the limits.
        ready: is called with the study and its addresses, the best one first, once the server listens.

    Raises:
        InputError: there is no such study.
        PalateError: the study is served already, or the server cannot listen on the address.
    """
    with ExitStack() as stack:
        study = open_study(config.study)
        stack.callback(study.close)
        note = stack.enter_context(claimed(study))
        stack.enter_context(logging_to(study.folder))
        stack.enter_context(_switching_often())
        measure = Apart()
        stack.callback(measure.close)
        limits = Connections(affordable(), proxies=Trusted(config.behind_proxy))
        app = create_app(study, config, measure)
        wire = stack.enter_context(listening(config))
        addresses = addresses_of(config, wire)

        def begun() -> None:
            note(addresses[0])
            log.info("serving at %s, at most %d connections", addresses[0], limits.most)
            ready(study, addresses)

        _Server(_options(app, limits), limits, begun).run([wire])
        limits.report()
        log.info("stopped")


def addresses_of(config: ServeConfig, wire: socket.socket) -> list[str]:
    """The addresses that raters can open: the configured one, or all at which this machine can be reached."""
    if config.url:
        return [config.url.rstrip("/")]
    port = wire.getsockname()[1]
    return [f"http://{host}:{port}" for host in reachable(config.host, wire.family)]


def listening(config: ServeConfig) -> socket.socket:
    """A socket on the address of a study.

    Raises:
        PalateError: the address cannot be listened on.
    """
    try:
        family, kind, _, _, address = socket.getaddrinfo(config.host, config.port, type=socket.SOCK_STREAM)[0]
        # With its protocol named, asyncio recognises TCP and sends answers at once; else each answer waits for 40 ms.
        wire = socket.socket(family, kind, socket.IPPROTO_TCP)
        try:
            if os.name == "posix":  # on Windows it would let two servers listen on one address
                wire.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            wire.bind(address)
            wire.listen(BACKLOG)
        except OSError:
            wire.close()
            raise
        return wire
    except OSError as error:
        why = error.strerror or error
        fix = "give another --port or --host, or stop what listens there"
        raise PalateError(f"cannot listen on {config.host}:{config.port} ({why}); {fix}") from error


@contextmanager
def _switching_often() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def _options(app: FastAPI, limits: Connections) -> uvicorn.Config:
    """uvicorn's configuration: the same event loop and parser whatever else is installed, no reading of a proxy's
    headers, because `guard` does that, and no logging settings of uvicorn's own."""
    return uvicorn.Config(
        app,
        loop="asyncio",
        http=limited(limits),
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=AT_ONCE,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=LAST_ANSWERS,
    )


class _Server(uvicorn.Server):
    """A server that calls `ready` once it listens, and closes connections that exceed a time limit."""

    def __init__(self, config: uvicorn.Config, limits: Connections, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._limits, self._ready = limits, ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for wire in sockets or []:
            wire.listen(BACKLOG)  # asyncio has one setting for both and set this to AT_ONCE
        self._watching = asyncio.create_task(self._limits.watch())
        if self.started:
            self._ready()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Ends the server at Ctrl-C or SIGTERM; a second Ctrl-C ends it at once.

        uvicorn would also send the signal to the process once more, which would end it before it has cleaned up.
        """
        self.force_exit = self.should_exit and sig == signal.SIGINT
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await super().shutdown(sockets)
        self._watching.cancel()
