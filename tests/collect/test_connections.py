"""Connections that send nothing, send slowly or never read: each is closed in time, and no other one waits."""

from __future__ import annotations

import asyncio
import re
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from palate.collect.web import connections
from palate.collect.web.addresses import Trusted
from palate.collect.web.connections import Connections, Phase, affordable, limited

LARGE = 8_000_000
"""Bytes of an answer that no socket holds."""


async def answer(scope: Any, receive: Any, send: Any) -> None:
    """An app that reads what it is sent, and answers `LARGE` bytes at /large, nothing at /never, two anywhere else."""
    while (message := await receive())["type"] == "http.request" and message["more_body"]:
        pass
    while scope["path"] == "/never" and message["type"] != "http.disconnect":
        message = await receive()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"x" * (LARGE if scope["path"] == "/large" else 2)})


Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Dial = Callable[..., Awaitable[Ends]]


@asynccontextmanager
async def server(limits: Connections) -> AsyncIterator[Dial]:
    """A server of that app, whose connections are checked all the time; yields a function that connects to it."""
    config = uvicorn.Config(answer, http=limited(limits), ws="none", lifespan="off", log_config=None)
    config.load()
    state, opened = ServerState(), list[Ends]()
    made = await asyncio.get_running_loop().create_server(
        lambda: config.http_protocol_class(config=config, server_state=state, app_state={}),  # type: ignore[call-arg]
        "127.0.0.1",
        0,
    )

    async def dial(host: str = "127.0.0.1") -> Ends:
        opened.append(await asyncio.open_connection(*made.sockets[0].getsockname(), local_addr=(host, 0)))
        return opened[-1]

    watching = asyncio.create_task(limits.watch())
    try:
        yield dial
    finally:
        watching.cancel()
        made.close()
        for _, writer in opened:
            writer.transport.abort()
        await until(lambda: not state.connections and not state.tasks)


@pytest.fixture
def brief(monkeypatch: pytest.MonkeyPatch) -> dict[Phase, float]:
    """Short time limits for the phase that a test sets, and long ones for all others."""
    patience = {**connections.PATIENCE, Phase.HEADER: 30.0, Phase.BODY: 30.0, Phase.TAKING: 30.0}
    monkeypatch.setattr(connections, "PATIENCE", patience)
    monkeypatch.setattr(connections, "SWEEP", 0.02)
    monkeypatch.setattr(Connections, "report", lambda self: None)  # so that tests can count what was closed
    return patience


async def closed_after(reader: asyncio.StreamReader, within: float = 20.0) -> float:
    """The number of seconds until the server closes the connection."""
    start = time.monotonic()
    with suppress(ConnectionError):
        await asyncio.wait_for(reader.read(-1), within)
    return time.monotonic() - start


GET = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\n"
LARGE_GET = b"GET /large HTTP/1.1\r\nhost: a\r\n\r\n"
SLOW = {
    "nothing": (Phase.HEADER, (b"",)),
    "half a header": (Phase.HEADER, (b"GET / HTTP/1.1\r\n",)),
    "a header a byte at a time": (Phase.HEADER, (*(b"GET / HTTP/1.1\r\nx: ", *[b"y"] * 400),)),
    "half a header after a request": (Phase.HEADER, (GET, b"GET / HT")),
    "half a body": (Phase.BODY, (POST, b"x" * 50)),
    "a body a byte at a time": (Phase.BODY, (POST, *[b"x"] * 99)),
}


@pytest.mark.parametrize("how", SLOW)
def test_a_slow_client_is_closed_after_the_time_limit_even_if_it_keeps_sending_bytes(brief, how):
    phase, pieces = SLOW[how]
    brief[phase] = 0.3

    async def visit() -> float:
        limits = Connections()
        async with server(limits) as dial:
            reader, writer = await dial()
            closing = asyncio.create_task(closed_after(reader))
            for piece in pieces:
                writer.write(piece)
                if closing.done():
                    break
                await asyncio.sleep(0.02)
            waited = await closing
            assert len(limits) == 0 and list(limits.closed.values()) == [1], limits.closed
            assert phase.value in next(iter(limits.closed))
            return waited

    assert 0.25 < asyncio.run(visit()) < 10.0


def test_a_client_that_never_reads_its_answer_is_closed_and_a_slow_reader_is_not(brief, monkeypatch):
    brief[Phase.TAKING] = 0.3
    monkeypatch.setattr(connections, "SLOWEST", 100e6)

    async def visit() -> None:
        limits = Connections()
        async with server(limits) as dial:
            for end in (b"", b"connection: close\r\n"):
                reader, writer = await dial()
                reader._transport.pause_reading()  # type: ignore[attr-defined]
                writer.write(LARGE_GET[:-2] + end + b"\r\n")
                await until(lambda: limits.closed.total() == 1)
                assert len(limits) == 0
                limits.closed.clear()
            monkeypatch.setattr(connections, "SLOWEST", 100e3)
            reader, writer = await dial()
            writer.write(LARGE_GET)
            taken = 0
            while taken < LARGE:
                taken += len(await reader.read(400_000))
                await asyncio.sleep(0.02)
            writer.write(GET)
            assert b" 200 " in await reader.readuntil(b"\r\n\r\n") and not limits.closed

    asyncio.run(visit())


async def until(true: Any, within: float = 20.0) -> None:
    end = time.monotonic() + within
    while not true():
        assert time.monotonic() < end
        await asyncio.sleep(0.01)


def test_each_request_on_a_connection_has_the_full_time_limit(brief):
    """A connection is given its time for each request anew."""
    brief[Phase.HEADER] = brief[Phase.BODY] = 0.6

    async def visit() -> None:
        limits = Connections()
        async with server(limits) as dial:
            reader, writer = await dial()
            for _ in range(4):
                for piece in (POST[:20], POST[20:], b"x" * 50, b"x" * 50):
                    writer.write(piece)
                    await asyncio.sleep(0.1)
                assert b" 200 " in await reader.readuntil(b"\r\n\r\n")
                await asyncio.wait_for(reader.readuntil(b"0\r\n\r\n"), 5)
            assert not limits.closed

    asyncio.run(visit())


def test_the_oldest_waiting_connection_is_closed_for_a_new_one_and_not_those_being_answered(brief):
    async def visit() -> None:
        limits = Connections(most=4, each=3)
        async with server(limits) as dial:
            answered, reading = await dial(), await dial()
            answered[1].write(b"GET /never HTTP/1.1\r\nhost: a\r\n\r\n")
            reading[1].write(LARGE_GET)
            reading[0]._transport.pause_reading()  # type: ignore[attr-defined]
            await until(lambda: [each.awaits for each in limits.all()] == [Phase.BUSY, Phase.TAKING])
            first = await dial()
            await until(lambda: len(limits) == 3)
            second = await dial()
            assert await closed_after(first[0]) < 10 and len(limits) == 3
            second[1].write(GET)
            assert b" 200 " in await second[0].readuntil(b"\r\n\r\n")
            assert [each.awaits for each in limits.all()] == [Phase.BUSY, Phase.TAKING, Phase.IDLE]

    asyncio.run(visit())


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have one loopback address")
def test_clients_that_send_requests_keep_connections_while_many_addresses_send_none(brief):
    """Even if each of these addresses has only a few connections."""

    async def visit() -> None:
        limits = Connections(most=5, each=5)
        async with server(limits) as dial:
            served = [await dial() for _ in range(3)]
            for reader, writer in served:
                writer.write(GET)
                assert b" 200 " in await reader.readuntil(b"\r\n\r\n")
            for number in range(2, 12):
                await dial(f"127.0.0.{number}")
            await until(lambda: limits.closed.total() == 8)
            assert [each.awaits for each in limits.all()].count(Phase.IDLE) == 3
            late = await dial()
            late[1].write(GET)
            assert b" 200 " in await late[0].readuntil(b"\r\n\r\n")

    asyncio.run(visit())


@pytest.mark.parametrize(("proxies", "left"), [((), 5), (("127.0.0.1",), 10)])
def test_the_limit_of_connections_for_one_address_does_not_apply_to_a_proxy(brief, proxies, left):
    async def visit() -> None:
        limits = Connections(most=10, each=5, proxies=Trusted(proxies))
        async with server(limits) as dial:
            _ = [await dial() for _ in range(12)]
            await until(lambda: limits.closed.total() == 12 - left)
            assert len(limits) == left

    asyncio.run(visit())


def test_connections_are_as_many_as_there_are_file_descriptors_for():
    resource = pytest.importorskip("resource")
    before = soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < 900:
        pytest.skip("this system lets a process open very few files")
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (300, hard))
        assert affordable(500, reserved=200) == 500  # it may ask for more, and does
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == 700
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_closed_connections_are_reported_once_a_minute_in_one_line(caplog):
    limits = Connections()
    for second in range(180):
        limits.closed["too slow"] += 10
        limits.sweep(1000.0 + second)
    lines = [each.getMessage() for each in caplog.records]
    assert len(lines) == 3 and sum(int(re.findall(r"(\d+) \(too slow", line)[0]) for line in lines) == 1210
