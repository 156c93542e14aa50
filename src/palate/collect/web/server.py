"""`palate collect serve`: the web app on an address, until somebody stops it."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable
from contextlib import suppress

import uvicorn

from palate.collect.config import ServeConfig
from palate.collect.quality.apart import Apart
from palate.collect.study import OpenStudy, open_study
from palate.collect.web.app import create_app
from palate.core.errors import PalateError

SWITCH = 5e-4
"""Seconds that a thread keeps the interpreter while others wait for it, a tenth of Python's default: a request passes
through several threads, and would wait that long at each turn."""

BACKLOG = 2048
"""Connections that may wait to be accepted."""


def serve(config: ServeConfig, ready: Callable[[OpenStudy, str], None] = lambda study, url: None) -> None:
    """Serves a study until Ctrl-C or SIGTERM.

    Args:
        config: where.
        ready: is told the study and its address once the server listens.

    Raises:
        InputError: there is no such study.
        PalateError: the address cannot be listened on.
    """
    study, measure = open_study(config.study), Apart()
    before = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH)
    try:
        app = create_app(study, config, measure)
        options = uvicorn.Config(app, log_level="warning", server_header=False, access_log=False)
        with listening(config) as wire, suppress(KeyboardInterrupt):  # uvicorn passes Ctrl-C on once it has stopped
            host = f"[{config.host}]" if wire.family == socket.AF_INET6 else config.host
            url = (config.url or f"http://{host}:{wire.getsockname()[1]}").rstrip("/")
            _Server(options, lambda: ready(study, url)).run([wire])
    finally:
        sys.setswitchinterval(before)
        measure.close()
        study.close()


def listening(config: ServeConfig) -> socket.socket:
    """A socket on the address of a study.

    Raises:
        PalateError: nobody can listen there.
    """
    try:
        family, kind, _, _, address = socket.getaddrinfo(config.host, config.port, type=socket.SOCK_STREAM)[0]
        # With its protocol named, asyncio sends answers at once; else it does not know TCP, and each waits for 40 ms.
        wire = socket.socket(family, kind, socket.IPPROTO_TCP)
        try:
            if os.name == "posix":  # elsewhere it would let two servers have one address
                wire.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            wire.bind(address)
            wire.listen(BACKLOG)
        except OSError:
            wire.close()
            raise
        return wire
    except OSError as error:
        why = error.strerror or error
        mend = "give another --port or --host, or stop what listens there"
        raise PalateError(f"cannot listen on {config.host}:{config.port} ({why}); {mend}") from error


class _Server(uvicorn.Server):
    """Says that it listens once it does."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._ready()
