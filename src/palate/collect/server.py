"""`palate collect serve`: the web app on an address, until somebody stops it."""

from __future__ import annotations

import sys
from collections.abc import Callable

import uvicorn

from palate.collect.app import create_app
from palate.collect.config import ServeConfig
from palate.collect.quality.apart import Apart
from palate.collect.study import OpenStudy, open_study
from palate.core.errors import PalateError

SWITCH = 5e-4
"""Seconds that a thread keeps the interpreter while others wait for it, a tenth of Python's default: a request passes
through several threads, and would wait that long at each turn."""


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
    app = create_app(study, config, measure)
    server = _Server(
        uvicorn.Config(app, config.host, config.port, log_level="warning", server_header=False, access_log=False),
        lambda port: ready(study, (config.url or f"http://{config.host}:{port}").rstrip("/")),
    )
    before = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH)
    try:
        server.run()
    except SystemExit as error:  # how uvicorn says that it could not start
        mend = "give another --port, or stop what listens there"
        raise PalateError(f"cannot listen on {config.host}:{config.port}; {mend}") from error
    finally:
        sys.setswitchinterval(before)
        measure.close()
        study.close()


class _Server(uvicorn.Server):
    """Says where it listens once it does, also where the system chose the port."""

    def __init__(self, config: uvicorn.Config, listening: Callable[[int], None]) -> None:
        super().__init__(config)
        self._listening = listening

    async def startup(self, sockets: list | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._listening(self.servers[0].sockets[0].getsockname()[1])
