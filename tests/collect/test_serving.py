"""A study served by a separate process: raw requests and answers, and the files that the process leaves."""

from __future__ import annotations

import asyncio
import http.client
import json
import re
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from collect.web import served, site

from palate.collect.config import ServeConfig
from palate.collect.secrets import token_hash
from palate.collect.study import open_study
from palate.collect.web.guard import LARGEST_BODY
from palate.collect.web.server import listening
from palate.collect.web.session import cookie_of

UP = (
    "..%2f..%2f",
    "%2e%2e/%2e%2e/",
    "%252e%252e%252f",
    "..%5c..%5c",
    "....//....//",
    "..%c0%af..%c0%af",
    "../../",
    "..;/",
)
PATHS = (*(f"{up}study.db" for up in UP), "%2fetc%2fpasswd", "//etc/passwd", "study.db", "config.yaml", "images%2fx",
    "%00", "a%00.png", "%ff%fe", "file:%2f%2f%2fetc%2fpasswd", "A" * 5000, "%f0%9f%92%a9", "..")  # fmt: skip
PARAMETERS = ("/i/", "/r/", "/owner/enter/", "/owner/i/", "/api/live/", "/static/", "/static/../", "/")


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, int, Path]]:
    """A study that is served in a process of its own: its folder, the port, and the log."""
    folder = tmp_path_factory.mktemp("served") / "study"
    with site(folder, items=3), served(folder) as (port, log, _):
        yield folder, port, log


def asked(port: int, method: str, target: str, headers: dict[str, str] | None = None, body: Any = None) -> Any:
    """Sends a request target unchanged, with all dots and slashes; returns the response and its body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request(method, target, None if body is None else json.dumps(body), headers or {})
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    return answer, text


def test_no_path_leads_out_of_the_served_folders(process):
    folder, port, log = process
    study = open_study(folder)
    owner = log.read_text().rsplit("/", 1)[1].strip()
    rater = f"{cookie_of(study, 'rater')}={study.add_rater('path')}"
    cookies = {"cookie": f"{rater}; {cookie_of(study, 'owner')}={owner}"}
    study.close()
    for start in PARAMETERS:
        for path in PATHS:
            answer, text = asked(port, "GET", start + path, cookies)
            assert answer.status in (400, 404, 422), (start, path)
            assert not re.search(rb"SQLite format|root:|def |collect new", text)


def test_tokens_are_not_in_pages_logs_or_the_database(process):
    folder, port, log = process
    study = open_study(folder)
    token, other = study.add_rater("token"), study.add_rater("other")
    answer, text = asked(port, "GET", f"/r/{token}")
    assert answer.status == 303 and answer.headers["location"] == "/" and not text
    cookie = {"cookie": answer.headers["set-cookie"].split(";")[0]}
    told = [
        asked(port, "GET", path, {**cookie, "accept": kind})
        for path in ("/", "/api/screens", "/nothing", f"/r/{other[:-1]}!")
        for kind in ("text/html", "*/*")
    ]
    told += [asked(port, "POST", "/api/votes", {**cookie, "content-type": "application/json"}, {"token": token})]
    owner = log.read_text().rsplit("/", 1)[1].strip()
    for answer, text in told:
        said = str(answer.headers) + text.decode()
        assert not any(each in said for each in (token, other, owner))
    assert not any(each in log.read_text() for each in (token, other)) and log.read_text().count(owner) == 1
    kept = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    assert not any(each.encode() in kept for each in (token, other, owner))
    assert all(token_hash(each).encode() in kept for each in (token, other, owner))
    study.close()


def test_the_server_does_not_name_its_software_and_listens_only_on_this_machine(process):
    _, port, _ = process
    assert ServeConfig(study=Path("x")).host == "127.0.0.1"
    assert "server" not in asked(port, "GET", "/")[0].headers
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", port), timeout=5)


def test_answers_are_sent_without_the_delay_of_nagles_algorithm():
    async def option(wire: socket.socket) -> int:
        found = asyncio.get_running_loop().create_future()

        def met(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            found.set_result(writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            writer.close()

        async with await asyncio.start_server(met, sock=wire):
            _, writer = await asyncio.open_connection(*wire.getsockname())
            writer.close()
            return await found

    with listening(ServeConfig(study=Path("x"), port=0)) as wire:
        assert asyncio.run(option(wire)) == 1


def test_ctrl_c_ends_the_server_cleanly_also_while_the_owners_page_is_open(tmp_path):
    with site(tmp_path / "study", items=3) as made, served(tmp_path / "study") as (port, log, process):
        owner = log.read_text().rsplit("/", 1)[1].strip()
        assert asked(port, "GET", "/owner", {"cookie": f"{made.cookie('owner')}={owner}"})[0].status == 200
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0 and "Traceback" not in log.read_text()


def exchanged(port: int, *pieces: bytes) -> bytes:
    """Sends bytes as they are; returns what comes back until the server closes, or says nothing for a while."""
    back = b""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as wire:
        try:
            for piece in pieces:
                wire.sendall(piece)
            wire.settimeout(1.0)
            while more := wire.recv(65536):
                back += more
        except (TimeoutError, BrokenPipeError, ConnectionResetError):  # it has heard enough, or waits for more
            pass
    return back


POST = b"POST /api/votes HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n"
GET = b"GET /static/style.css HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"
CHUNK = b"%x\r\n%b\r\n" % (8192, b" " * 8192)
LIES: dict[str, tuple[bytes, ...]] = {
    "a length below zero": (POST, b"content-length: -1\r\n\r\n"),
    "a length that is none": (POST, b"content-length: many\r\n\r\n"),
    "two lengths": (POST, b"content-length: 2\r\ncontent-length: 3\r\n\r\n{}}"),
    "a length of many digits": (POST, b"content-length: " + b"9" * 5000 + b"\r\n\r\n"),
    "more announced than sent": (POST, b"content-length: 500\r\n\r\n{}"),
    "less announced than sent": (POST, b"content-length: 2\r\n\r\n{}" + b"x" * 5000),
    "chunks that are none": (POST, b"transfer-encoding: chunked\r\n\r\nxyz\r\n"),
    "length and chunks": (POST, b"content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"),
    "an unknown coding": (POST, b"transfer-encoding: gzip\r\n\r\n{}"),
    "no HTTP": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",),
    "a header without end": (b"GET / HTTP/1.1\r\nx: " + b"y" * 200_000,),
    "many headers": (b"GET / HTTP/1.1\r\n", *(b"x%d: y\r\n" % k for k in range(20_000)), b"\r\n"),
    "half a request": (b"GET / HT",),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_request_with_false_headers_causes_no_server_error_and_affects_no_other_client(process, lie):
    _, port, log = process
    before = log.read_text()
    back = exchanged(port, *LIES[lie])
    assert not back or re.match(rb"HTTP/1.1 4\d\d ", back)
    assert exchanged(port, GET).startswith(b"HTTP/1.1 200 ")
    assert "Traceback" not in log.read_text().removeprefix(before)


def test_a_body_that_is_too_large_is_refused_before_it_is_read(process):
    _, port, _ = process
    with socket.create_connection(("127.0.0.1", port), timeout=20) as wire:
        wire.sendall(POST + b"content-length: 1000000000\r\n\r\n")
        assert wire.recv(65536).startswith(b"HTTP/1.1 413 ")
    with socket.create_connection(("127.0.0.1", port), timeout=20) as wire:
        wire.sendall(POST + b"transfer-encoding: chunked\r\n\r\n" + CHUNK * (LARGEST_BODY // 8192 + 1))
        assert wire.recv(65536).startswith(b"HTTP/1.1 413 ")
    assert exchanged(port, GET).startswith(b"HTTP/1.1 200 ")
