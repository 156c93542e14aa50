"""Limits on the rate and size of requests, and pictures that have changed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from collect.database import rows
from collect.web import Site, screens, site, vote
from fastapi.testclient import TestClient

from palate.collect.web import guard, rates
from palate.collect.web.addresses import Trusted, client_of
from palate.collect.web.guard import LARGEST_BODY

RATE = 3.0
BURST = int(RATE * rates.BURST_SECONDS)
JSON = {"content-type": "application/json"}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The guard's clock, which a test sets."""
    now = [1000.0]
    monkeypatch.setattr(rates.time, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def limited(tmp_path: Path, clock: list[float]) -> Iterator[Site]:
    with site(tmp_path / "study", serve={"rate": RATE}) as made:
        yield made


def rater(made: Site, clock: list[float], name: str = "a") -> TestClient:
    """A rater who has opened the page and waited until a full burst of requests is allowed again."""
    client = made.rater(name)
    clock[0] += rates.BURST_SECONDS
    return client


def statuses(client: TestClient, count: int, path: str = "/api/screens") -> list[int]:
    return [client.get(path).status_code for _ in range(count)]


def test_a_client_with_too_many_requests_must_wait_and_is_served_again_later(limited, clock):
    client = rater(limited, clock)
    assert statuses(client, BURST) == [200] * BURST
    refused = client.get("/api/screens")
    assert refused.status_code == 429 and int(refused.headers["retry-after"]) > 0
    assert "wait" in refused.json()["detail"]
    clock[0] += float(refused.headers["retry-after"])
    assert client.get("/api/screens").status_code == 200


def test_the_limit_of_one_client_does_not_affect_others_of_the_same_address(limited, clock):
    client, other = (rater(limited, clock, name) for name in "ab")
    statuses(client, BURST + 20)
    assert client.get("/api/screens").status_code == 429
    assert statuses(other, BURST) == [200] * BURST


def made_up(number: int) -> str:
    return f"{number:043}"


def flood(made: Site, times: int, client: str = "testclient", **options: Any) -> list[int]:
    """The answers to a client that sends a new invented token with each request."""
    stranger, name = made.stranger(client=(client, 50000), **options), made.cookie("rater")
    return [stranger.get("/api/screens", headers={"cookie": f"{name}={made_up(k)}"}).status_code for k in range(times)]


def test_invented_cookies_raise_no_limit_and_do_not_affect_other_clients(limited, clock):
    client = rater(limited, clock)
    assert flood(limited, BURST + 20)[-20:] == [429] * 20
    assert statuses(client, BURST) == [200] * BURST


def test_a_valid_cookie_among_invented_ones_does_not_raise_the_limit(limited, clock):
    client, name = rater(limited, clock), limited.cookie("rater")
    real, stranger = client.cookies[name], limited.stranger()
    for order in ("{0}={1}; {0}={2}", "{0}={2}; {0}={1}"):
        answers = [
            stranger.get("/api/screens", headers={"cookie": order.format(name, made_up(k), real)})
            for k in range(2 * BURST + 20)
        ]
        assert [each.status_code for each in answers[-20:]] == [429] * 20


def test_a_new_rater_can_open_a_link_from_an_address_that_sends_too_many_requests(limited, clock):
    """Also a rater who was invited after these requests began, and the owner."""
    flood(limited, BURST + 20)
    for name in ("early", "late"):
        token = limited.study.add_rater(name)
        clock[0] += rates.REREAD
        assert set(flood(limited, 20)[-10:]) == {429}
        assert limited.rater(name, token).get("/api/screens").status_code == 200
    clock[0] += rates.REREAD
    assert limited.owner().get("/owner/api/quality").status_code == 200


def test_invented_links_count_as_requests_without_a_token(limited):
    stranger = limited.stranger()
    found = [stranger.get(f"/r/{made_up(k)}").status_code for k in range(BURST + 5)]
    assert found == [404] * BURST + [429] * 5


def test_clients_without_a_token_share_one_limit_over_all_addresses_and_raters_do_not(limited, clock):
    client = rater(limited, clock)
    found = [status for k in range(10) for status in flood(limited, BURST, f"203.0.113.{k}")]
    assert found.count(401) == guard.STRANGERS * BURST and found.count(429) == 5 * BURST
    assert statuses(client, BURST) == [200] * BURST


def test_addresses_of_one_ipv6_network_are_one_client(limited):
    assert set(flood(limited, BURST, "2001:db8::1")) == {401}
    assert set(flood(limited, 5, "2001:db8::ffff:2")) == {429}
    assert set(flood(limited, 5, "2001:db8:0:1::1")) == {401}


def test_many_invented_tokens_cause_only_one_query_a_second(limited, monkeypatch):
    read, times = rates.Tokens._read, []
    monkeypatch.setattr(rates.Tokens, "_read", lambda self: times.append(1) or read(self))
    flood(limited, BURST)
    assert len(times) == 1


def test_a_refusal_is_a_page_for_a_browser_and_json_for_a_script(limited):
    stranger = limited.stranger()
    statuses(stranger, BURST)
    page = stranger.get("/", headers={"accept": "text/html"})
    assert page.status_code == 429 and "text/html" in page.headers["content-type"]
    assert "too many requests" in page.text and int(page.headers["retry-after"]) > 0
    style = page.text.split('rel="stylesheet" href="')[1].split('"')[0]
    assert stranger.get(style).status_code == 200  # and it has its looks
    script = stranger.get("/api/screens")
    assert script.status_code == 429 and "too many requests" in script.json()["detail"]


PROXY, ELSEWHERE = "127.0.0.1", "198.51.100.7"


@pytest.mark.parametrize(
    ("trusted", "peer", "forwarded", "seen"),
    [
        ((), PROXY, ELSEWHERE, PROXY),
        ((PROXY,), PROXY, ELSEWHERE, ELSEWHERE),
        ((PROXY,), "203.0.113.1", ELSEWHERE, "203.0.113.1"),
        ((PROXY,), PROXY, f"192.0.2.66, {ELSEWHERE}", ELSEWHERE),
        ((PROXY, "10.0.0.0/8"), PROXY, f"192.0.2.66, {ELSEWHERE}, 10.1.2.3", ELSEWHERE),
        ((PROXY,), PROXY, f"{ELSEWHERE}:4711", ELSEWHERE),
        (("::1",), "::1", "[2001:db8::5]:4711", "2001:db8::5"),
        ((PROXY,), "::ffff:127.0.0.1", f"::ffff:{ELSEWHERE}", ELSEWHERE),
        ((PROXY,), PROXY, "unknown", PROXY),
        ((PROXY,), PROXY, "x" * 5000, PROXY),
        ((PROXY,), PROXY, "", PROXY),
    ],
)
def test_a_request_is_counted_under_the_last_address_that_is_not_a_trusted_proxy(trusted, peer, forwarded, seen):
    assert client_of(peer, forwarded, Trusted(trusted)) == seen


def test_forwarded_addresses_are_read_only_from_trusted_proxies(tmp_path, clock):
    """Otherwise one client could pretend to be others, and use up their limits."""
    for number, behind in enumerate(((), (PROXY,))):
        with site(tmp_path / f"study {number}", serve={"rate": RATE, "behind_proxy": behind}) as made:
            stranger = made.stranger(client=(PROXY, 50000))
            found = [
                stranger.get("/api/screens", headers={"x-forwarded-for": f"198.51.100.{k}"}).status_code
                for k in range(BURST + 10)
            ]
            assert found == ([401] * (BURST + 10) if behind else [401] * BURST + [429] * 10)


def test_a_vote_that_the_rate_limit_refused_can_be_sent_again(limited, clock):
    client = rater(limited, clock)
    own = screens(client)[0]["assignment"]
    statuses(client, BURST)
    name = "00000000-0000-4000-8000-00000000000a"
    assert vote(client, own, uuid=name).status_code == 429
    clock[0] += 2
    assert vote(client, own, uuid=name).json() == {"new": True, "done": 1}


def test_a_body_with_one_byte_more_than_the_maximum_is_refused(tmp_path):
    with site(tmp_path / "study") as made:
        client = made.rater("a")

        def chunks(size: int) -> Iterator[bytes]:
            while size > 0:
                yield b" " * min(size, 1000)
                size -= 1000

        for size, status in ((LARGEST_BODY, 422), (LARGEST_BODY + 1, 413), (50 * LARGEST_BODY, 413)):
            for body in (b" " * size, chunks(size)):
                answer = client.post("/api/votes", content=body, headers=JSON)
                assert answer.status_code == status and isinstance(answer.json()["detail"], str)
        small = client.post("/api/votes", content=b"{}", headers={**JSON, "content-length": "9" * 5000})
        assert small.status_code == 413
        assert client.get("/api/screens").status_code == 200


def vanish(file: Path, outside: Path) -> None:
    file.unlink()


def cut(file: Path, outside: Path) -> None:
    file.write_bytes(file.read_bytes()[:60])


def replace(file: Path, outside: Path) -> None:
    file.write_text("no picture at all")


def empty(file: Path, outside: Path) -> None:
    file.write_bytes(b"")


def make_a_folder(file: Path, outside: Path) -> None:
    file.unlink()
    file.mkdir()


def link_out(file: Path, outside: Path) -> None:
    file.unlink()
    file.symlink_to(outside)


def move_and_link(file: Path, outside: Path) -> None:
    """The same bytes, but they lie elsewhere."""
    outside.write_bytes(file.read_bytes())
    link_out(file, outside)


def link_to_another(file: Path, outside: Path) -> None:
    other = next(each for each in file.parent.iterdir() if each != file)
    link_out(file, other)


def link_to_itself(file: Path, outside: Path) -> None:
    link_out(file, file)


def link_to_a_pipe(file: Path, outside: Path) -> None:
    outside.unlink(missing_ok=True)
    file.unlink()
    os.mkfifo(file)


HARM = (
    vanish,
    cut,
    replace,
    empty,
    make_a_folder,
    link_out,
    move_and_link,
    link_to_another,
    link_to_itself,
    link_to_a_pipe,
)


@pytest.mark.parametrize("harm", HARM)
def test_a_changed_picture_is_refused_with_a_sentence(tmp_path, harm):
    with site(tmp_path / "study", items=3) as made:
        client, outside = made.rater("a"), tmp_path / "outside.png"
        outside.write_bytes(b"a secret of another folder")
        (screen, *_) = screens(client)
        whole, broken = (image["src"] for image in screen["images"])
        query = "SELECT image.id, file FROM image JOIN handle ON image_id = image.id WHERE name = :name"
        ((number, file),) = rows(made.study, query, name=broken.removeprefix("/i/"))
        harm(made.study.folder / file, outside)
        for answer in (client.get(broken), made.owner().get(f"/owner/i/{number}")):
            assert answer.status_code == 404 and "owner" in answer.json()["detail"]
            assert b"secret" not in answer.content and str(tmp_path) not in answer.text
        page = client.get(broken, headers={"accept": "text/html"})
        assert page.status_code == 404 and "picture" in page.text
        assert client.get(whole).status_code == 200
        assert vote(client, screen["assignment"], kind="flag", answers=None, reason="broken").status_code == 200
