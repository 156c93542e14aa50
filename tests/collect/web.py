"""Clients of the app in this process, with cookies, origin and CSRF token as browsers send them."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from collect.database import new_uuid, small_config
from fastapi import FastAPI
from fastapi.testclient import TestClient

from palate.collect.config import ServeConfig
from palate.collect.new import new_study
from palate.collect.study import OpenStudy, open_study
from palate.collect.web.app import create_app
from palate.collect.web.session import cookie_of

HERE = "http://study.test"
Visit = Callable[..., TestClient]


class Site:
    """A study and the app that serves it, without rate limits unless a test sets them."""

    def __init__(self, study: OpenStudy, stack: ExitStack, **serve: Any) -> None:
        self.study, self.stack = study, stack
        self.app: FastAPI = create_app(study, ServeConfig(**{"study": study.folder, "rate": 1e6, **serve}))

    def stranger(self, **options: Any) -> TestClient:
        """A client that has opened no link."""
        return self.stack.enter_context(TestClient(self.app, base_url=HERE, follow_redirects=False, **options))

    def rater(self, name: str, token: str | None = None) -> TestClient:
        """A rater who has opened their link and the page behind it; a new one, or one whose token is given."""
        return self.visit(f"/r/{token or self.study.add_rater(name)}", "/")

    def owner(self) -> TestClient:
        """The owner, who has opened their link and page; a new token, or the given one."""
        return self.visit(f"/owner/enter/{self.study.renew_owner()}", "/owner")

    def cookie(self, whose: str) -> str:
        """The name of the study's cookie of a `rater` or of the `owner`."""
        return cookie_of(self.study, whose)

    def visit(self, link: str, page: str) -> TestClient:
        client = self.stranger()
        assert client.get(link).status_code == 303
        client.headers.update({"origin": HERE, "x-csrf-token": csrf_of(client.get(page).text)})
        return client


@contextmanager
def site(
    folder: Path, items: int = 6, database: str | None = None, serve: dict[str, Any] | None = None, **changes: Any
) -> Iterator[Site]:
    """A study of small drawn pictures, and its app."""
    new_study(small_config(folder, items, database, **changes))
    study = open_study(folder)
    with ExitStack() as stack:
        yield Site(study, stack, **serve or {})
    study.close()


def csrf_of(page: str) -> str:
    """The token that a page gives to its own scripts."""
    return re.findall(r'name="csrf" content="(\w+)"', page)[0]


def screens(client: TestClient, count: int = 2) -> list[dict[str, Any]]:
    """The screens that a rater must answer."""
    return client.get("/api/screens", params={"count": count}).json()["screens"]


def vote(client: TestClient, assignment: int, answer: Any = "left", **changes: Any) -> Any:
    """Sends a vote; returns the response."""
    ballot = {"uuid": new_uuid(), "assignment": assignment, "kind": "answer", "answers": {"general": answer}}
    return client.post("/api/votes", json=ballot | changes)


@contextmanager
def served(
    folder: Path, *flags: str, files: int | None = None, at: str = "http://127.0.0.1"
) -> Iterator[tuple[int, Path, subprocess.Popen[bytes]]]:
    """A study in a process of its own: the port of `palate collect serve`, the file of what it says, the process.

    Args:
        files: how many files and connections the system lets the process have open.
        at: how the address begins that it says; the port is 0 where the address has none.
    """
    log = folder.parent / f"{folder.name}.log"
    command = [sys.executable, "-u", "-m", "palate", "collect", "serve", "--study", str(folder), "--port", "0", *flags]
    if files is not None:
        command = ["sh", "-c", f'ulimit -n {files}; exec "$@"', "sh", *command]
    with open(log, "wb") as said:
        process = subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT)
    try:
        end = time.monotonic() + 60
        while "owner:" not in log.read_text():
            assert process.poll() is None and time.monotonic() < end, log.read_text()
            time.sleep(0.05)
        yield int(re.findall(rf" at {re.escape(at)}(?::(\d+)|\b)", log.read_text())[0] or 0), log, process
    finally:
        process.terminate()
        process.wait(20)
