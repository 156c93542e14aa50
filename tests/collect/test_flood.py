"""A server with very many connections that send no request: votes are still accepted, and the log stays small."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import pytest
from collect.database import new_uuid, rows
from collect.web import csrf_of, served, site

from palate.collect.web.logs import FILE

HALF_OPEN = 1200
SMALL = 20_000
"""Bytes that a log may have after a flood."""


@contextmanager
def many_files(count: int) -> Iterator[None]:
    """Raises the limit of open files and connections of this process."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < count:
        pytest.skip(f"this system lets a process open {hard} files, and the test needs {count}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, count), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class Voter:
    """A rater, with a new connection for each request."""

    def __init__(self, port: int, token: str) -> None:
        self.port = port
        self.headers = {"cookie": self.ask("GET", f"/r/{token}")[1]["set-cookie"].split(";")[0]}
        page = self.ask("GET", "/")[0].decode()
        self.headers |= {"origin": f"http://127.0.0.1:{port}", "x-csrf-token": csrf_of(page)}

    def ask(self, method: str, path: str, body: Any = None) -> tuple[bytes, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        headers = getattr(self, "headers", {}) | {"content-type": "application/json"}
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        data = answer.read()
        connection.close()
        assert answer.status in (200, 303), (answer.status, data)
        return data, answer.headers

    def vote(self) -> None:
        screen = json.loads(self.ask("GET", "/api/screens")[0])["screens"][0]
        ballot = {"uuid": new_uuid(), "assignment": screen["assignment"], "kind": "answer"}
        assert json.loads(self.ask("POST", "/api/votes", ballot | {"answers": {"general": "left"}})[0])["new"]


@pytest.mark.parametrize("files", [None, 400], ids=["many files", "few files"])
def test_votes_are_accepted_while_1200_connections_never_complete_their_header(tmp_path, files):
    """The server may also have fewer files open than there are such connections."""
    folder = tmp_path / "study"
    with site(folder, items=40, mirror=0.0) as made, served(folder, files=files) as (port, log, _):
        token, late = made.study.add_rater("early"), made.study.add_rater("late")
        early = Voter(port, token)
        early.vote()
        with many_files(2 * HALF_OPEN), ExitStack() as stack:
            for number in range(HALF_OPEN):
                wire = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=30))
                wire.sendall(b"GET /api/screens HTTP/1.1\r\nhost: a\r\nx: ")
                if number % 100 == 99:
                    early.vote()
            newcomer = Voter(port, late)
            for _ in range(5):
                early.vote()
                newcomer.vote()
        assert rows(made.study, "SELECT count(*) FROM vote") == [(1 + HALF_OPEN // 100 + 10,)]
    assert log.stat().st_size < SMALL and (folder / FILE).stat().st_size < SMALL
    assert "Traceback" not in log.read_text() + (folder / FILE).read_text()
    assert "too many connections" in (folder / FILE).read_text()


def test_ctrl_c_ends_a_server_that_has_slow_clients(tmp_path):
    folder = tmp_path / "study"
    with site(folder, items=3), served(folder) as (port, _, process), ExitStack() as stack:
        for sent in (b"GET / HT", b"POST /api/votes HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\nx"):
            wire = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=30))
            wire.sendall(sent)
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        assert process.wait(25) == 0


def test_a_connection_that_never_completes_its_header_is_closed_within_seconds(tmp_path):
    folder = tmp_path / "study"
    with site(folder, items=3), served(folder) as (port, _, _):
        with socket.create_connection(("127.0.0.1", port), timeout=40) as wire:
            wire.sendall(b"GET / HT")
            start = time.monotonic()
            with suppress(ConnectionError):
                assert wire.recv(1) == b""
            assert time.monotonic() - start < 30
