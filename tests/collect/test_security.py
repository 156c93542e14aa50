"""Access control: other raters' screens, pages of other origins, old links, paths, and secrets in texts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from collect.database import new_uuid, rows
from collect.test_fuzz import routes_of
from collect.web import HERE, Site, csrf_of, screens, site, vote
from fastapi.testclient import TestClient

from palate.collect.study import open_study
from palate.collect.voting import quarantine
from palate.collect.web import rater_routes
from palate.collect.web.guard import HEADERS

JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site(tmp_path_factory.mktemp("security") / "study", items=40, mirror=0.0) as made:
        yield made


@pytest.fixture
def ann(world: Site) -> TestClient:
    return world.rater(f"Ann {new_uuid()}")


@pytest.fixture
def bob(world: Site) -> TestClient:
    return world.rater(f"Bob {new_uuid()}")


def counted(world: Site) -> list[tuple[Any, ...]]:
    """All that a request could change."""
    tables = ("vote", "assignment", "handle", "rater", "item", "image")
    sums = ['SELECT sum(filled), sum("left") FROM item', "SELECT sum(done), max(token_hash) FROM rater"]
    return [
        row
        for each in [*(f"SELECT count(*) FROM {table}" for table in tables), *sums]
        for row in rows(world.study, each)
    ]


def test_a_rater_cannot_use_the_screens_or_pictures_of_another(world, ann, bob):
    (screen, *_) = screens(ann)
    src = screen["images"][0]["src"]
    assert ann.get(src).status_code == 200
    assert bob.get(src).status_code == 404
    assert world.stranger().get(src).status_code == 401
    assert vote(bob, screen["assignment"]).status_code == 404
    assert vote(ann, screen["assignment"]).status_code == 200
    assert bob.post("/api/undo", json={"uuid": new_uuid()}).status_code == 409
    assert ann.get("/api/screens").json()["done"] == 1


def test_a_vote_that_is_sent_again_counts_once_and_cannot_be_changed(world, ann, bob):
    (first, second) = (each["assignment"] for each in screens(ann))
    name = new_uuid()
    assert [vote(ann, first, uuid=name).json() for _ in range(3)] == [
        {"new": new, "done": 1} for new in (True, False, False)
    ]
    assert vote(ann, first, "right", uuid=name).status_code == 409
    assert vote(ann, first, "right").status_code == 409
    assert vote(ann, second, uuid=name).status_code == 409
    assert vote(bob, screens(bob)[0]["assignment"], uuid=name).status_code == 409
    assert ann.post("/api/undo", json={"uuid": name}).status_code == 409
    assert rows(world.study, "SELECT count(*) FROM vote WHERE uuid = :name", name=name) == [(1,)]


@pytest.mark.parametrize(
    "origin", ["http://elsewhere.test", "null", "", HERE + ".elsewhere.test", HERE.replace("http", "https")]
)
def test_a_page_of_another_origin_can_change_nothing(world, ann, origin):
    own, before = screens(ann)[0]["assignment"], counted(world)
    ann.headers["origin"] = origin
    assert vote(ann, own).status_code == 403
    assert counted(world) == before


def test_a_request_without_an_origin_can_change_nothing(ann):
    own = screens(ann)[0]["assignment"]
    del ann.headers["origin"]
    assert vote(ann, own).status_code == 403


def test_a_csrf_token_is_needed_and_that_of_another_client_is_refused(world, ann, bob):
    own = screens(ann)[0]["assignment"]
    owners = world.owner().headers["x-csrf-token"]
    strangers = csrf_of(world.stranger().get("/x", headers={"accept": "text/html"}).text)
    for token in ("", "0" * 64, bob.headers["x-csrf-token"], owners, strangers):
        ann.headers["x-csrf-token"] = token
        assert vote(ann, own).status_code == 403
    for headers in ({}, {"x-csrf-token": b"\xe9"}):
        ann.headers.pop("x-csrf-token", None)
        assert ann.post("/api/undo", json={"uuid": new_uuid()}, headers=headers).status_code == 403


def test_a_renewed_link_is_invalid_at_once_whoever_renewed_it(world):
    for renewing in (world.study, open_study(world.study.folder)):
        name = new_uuid()
        old = world.study.add_rater(name)
        client = world.rater(name, old)
        own = screens(client)[0]
        assert client.get(own["images"][0]["src"]).status_code == 200
        new = renewing.renew_rater(name)
        assert client.get("/api/screens").status_code == 401
        assert client.get(own["images"][0]["src"]).status_code == 401
        assert vote(client, own["assignment"]).status_code == 401
        assert world.stranger().get(f"/r/{old}").status_code == 404
        assert vote(world.rater(name, new), own["assignment"]).status_code == 200
    renewing.close()


def test_the_owners_link_of_an_earlier_start_is_invalid(world):
    owner = world.owner()
    assert owner.get("/owner/api/quality").status_code == 200
    world.study.renew_owner()
    assert owner.get("/owner/api/quality").status_code == 401


def test_a_raters_token_opens_nothing_of_the_owners_nor_the_reverse(world):
    owners, raters = world.study.renew_owner(), world.study.add_rater(new_uuid())
    for token, cookie, path in (
        (owners, "rater", "/api/screens"),
        (raters, "owner", "/owner/api/quality"),
    ):
        client = world.stranger()
        client.cookies.set(world.cookie(cookie), token)
        assert client.get(path).status_code == 401
    assert world.stranger().get(f"/r/{owners}").status_code == 404
    assert world.stranger().get(f"/owner/enter/{raters}").status_code == 404


def test_a_rater_in_quarantine_notices_nothing(world):
    name = new_uuid()
    client, other = world.rater(name), world.rater(new_uuid())
    quarantine(world.study, name)
    for _ in range(3):
        shown = [client.get("/api/screens"), other.get("/api/screens")]
        sent = [vote(who, each.json()["screens"][0]["assignment"]) for who, each in zip((client, other), shown)]
        assert [each.status_code for each in sent] == [200, 200] and sent[0].json() == sent[1].json()
        assert sorted(shown[0].headers) == sorted(shown[1].headers)
        assert shown[0].json().keys() == shown[1].json().keys()
    pages = [re.sub(r'content="\w{64}"|data-rater="\w+"', "", who.get("/").text) for who in (client, other)]
    assert pages[0] == pages[1]


def test_other_http_methods_change_nothing(world, ann):
    screens(ann)
    owner = world.owner()
    before = counted(world)
    for path in {*routes_of(world.app.routes)} - {"/static", "/owner/static"}:
        path = re.sub(r"{\w+}", "1" * 22, path)
        for method in ("HEAD", "OPTIONS", "TRACE", "PUT", "PATCH", "DELETE", "CONNECT", "GARBAGE"):
            answer = (owner if path.startswith("/owner") else ann).request(method, path)
            assert answer.status_code in (404, 405), (method, path)
            assert answer.status_code == 404 or answer.headers["allow"] in ("GET", "POST")
    assert counted(world) == before
    assert ann.head("/static/style.css").content == b""
    assert ann.post("/static/style.css").status_code == 405


def everything(world: Site, ann: TestClient, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[int, Any]]:
    """Answers of every kind, with the status that each is to have."""
    stranger, html = world.stranger(raise_server_exceptions=False), {"accept": "text/html"}
    style = stranger.get("/static/style.css")
    yield 200, style
    yield 304, stranger.get("/static/style.css", headers={"if-none-match": style.headers["etag"]})
    yield 404, stranger.get("/static/nothing.css")
    yield 303, stranger.get(f"/r/{world.study.add_rater(new_uuid())}")
    yield from ((200, each) for each in (ann.get("/"), ann.get("/api/screens"), world.owner().get("/owner")))
    yield 200, ann.get(screens(ann)[0]["images"][0]["src"])
    yield 401, world.stranger().get("/", headers=html)
    yield 403, ann.post("/api/undo", json={"uuid": new_uuid()}, headers={"origin": "http://x.test"})
    yield 404, ann.get("/i/" + "x" * 22, headers=html)
    yield 405, ann.post("/api/screens")
    yield 413, ann.post("/api/votes", content=b" " * 70_000, headers=JSON)
    yield 422, ann.get("/api/screens", params={"count": 99})
    stranger.cookies.update(ann.cookies)
    monkeypatch.setattr(rater_routes, "next_screens", lambda *_: 1 / 0)
    yield 500, stranger.get("/api/screens")


def test_every_answer_has_the_security_headers(world, ann, monkeypatch):
    for status, answer in everything(world, ann, monkeypatch):
        assert answer.status_code == status
        assert HEADERS.items() <= dict(answer.headers).items(), status
        assert answer.headers["cache-control"] == "no-store" or answer.headers["content-type"] == "image/png"
        assert not {"server", "x-powered-by", "access-control-allow-origin"} & set(answer.headers)
        if status >= 400:
            assert not re.search(r"Traceback|ZeroDivision|\.py|sqlite", answer.text, re.IGNORECASE)
            assert str(Path.cwd()) not in answer.text and str(world.study.folder.parent) not in answer.text
    policy = HEADERS["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy and "*" not in policy


def test_only_the_raters_browser_may_cache_pictures(ann):
    kept = ann.get(screens(ann)[0]["images"][0]["src"]).headers["cache-control"]
    assert "private" in kept and "public" not in kept


def test_scripts_and_other_sites_cannot_use_the_cookies(world, tmp_path):
    def attributes(made: Site, link: str) -> tuple[str, set[str]]:
        name, *rest = made.stranger().get(link).headers["set-cookie"].lower().split("; ")
        return name.split("=")[0], {each for each in rest if not each.startswith("max-age")}

    kept = {"httponly", "samesite=lax"}
    rater, owner = f"/r/{world.study.add_rater(new_uuid())}", f"/owner/enter/{world.study.renew_owner()}"
    assert attributes(world, rater) == (world.cookie("rater"), {*kept, "path=/"})
    assert attributes(world, owner) == (world.cookie("owner"), {*kept, "path=/owner"})
    with site(tmp_path / "study", items=1, serve={"url": "https://study.example.org"}) as behind_tls:
        rater, owner = f"/r/{behind_tls.study.add_rater('a')}", f"/owner/enter/{behind_tls.study.renew_owner()}"
        assert attributes(behind_tls, rater) == (behind_tls.cookie("rater"), {*kept, "path=/", "secure"})
        assert attributes(behind_tls, owner) == (behind_tls.cookie("owner"), {*kept, "path=/owner", "secure"})


def test_a_study_with_a_configured_address_accepts_votes_only_from_pages_of_that_address(tmp_path):
    with site(tmp_path / "study", items=2, serve={"url": "https://study.example.org/"}) as made:
        client = made.stranger(headers={"cookie": f"{made.cookie('rater')}={made.study.add_rater('a')}"})
        client.headers["x-csrf-token"] = csrf_of(client.get("/").text)
        own = screens(client)[0]["assignment"]
        for origin, status in ((HERE, 403), ("http://study.example.org", 403), ("https://study.example.org", 200)):
            client.headers["origin"] = origin
            assert vote(client, own).status_code == status
