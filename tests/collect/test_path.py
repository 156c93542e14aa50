"""A study that shares its host with others: below a path, with other studies, behind a proxy."""

from __future__ import annotations

import re
import socket
from pathlib import Path
from typing import Any

import pytest
from collect.web import csrf_of, screens, site, vote
from fastapi.testclient import TestClient

from palate.collect.config import ServeConfig
from palate.collect.web.addresses import group_of, reachable
from palate.collect.web.server import addresses_of

URL = "https://example.org/palate/"
ORIGIN = "https://example.org"


def addresses_in(page: str) -> set[str]:
    """The addresses that the browser fetches for a page."""
    return set(re.findall(r'(?:href|src)="([^"#]+)"', page))


@pytest.mark.parametrize("stripped", [True, False], ids=["path taken away in front", "path passed on"])
def test_a_study_below_a_path_uses_no_address_outside_of_it(tmp_path, stripped):
    """Whether or not the proxy removes the path before it passes a request on."""
    with site(tmp_path / "study", items=3, mirror=0.0, serve={"url": URL}) as made:
        client = made.stranger()

        def inside(address: str) -> str:
            """The request that reaches the study for a browser's request to the host."""
            assert address == "/palate" or address.startswith("/palate/"), address
            return (address.removeprefix("/palate") or "/") if stripped else address

        def cookie_from(link: str, to: str, path: str) -> str:
            entered = client.get(inside(link))
            assert entered.status_code == 303 and entered.headers["location"] == to
            cookie, *about = entered.headers["set-cookie"].split("; ")
            assert f"Path={path}" in about and "Secure" in about
            return cookie

        rater = cookie_from(f"/palate/r/{made.study.add_rater('a')}", "/palate/", "/palate")
        client.cookies.clear()
        page = client.get(inside("/palate/"), headers={"cookie": rater})
        assert page.status_code == 200 and 'name="path" content="/palate"' in page.text
        for address in addresses_in(page.text):
            assert client.get(inside(address)).status_code == 200
        client.headers.update({"cookie": rater, "x-csrf-token": csrf_of(page.text), "origin": ORIGIN})
        (first, *_) = client.get(inside("/palate/api/screens")).json()["screens"]
        assert {client.get(inside(image["src"])).status_code for image in first["images"]} == {200}
        sent = {"uuid": "00000000-0000-4000-8000-00000000000a", "assignment": first["assignment"], "kind": "skip"}
        assert client.post(inside("/palate/api/votes"), json=sent | {"reason": "unsure"}).status_code == 200

        owner = cookie_from(f"/palate/owner/enter/{made.study.renew_owner()}", "/palate/owner", "/palate/owner")
        page = client.get(inside("/palate/owner"), headers={"cookie": owner})
        for address in addresses_in(page.text):
            assert client.get(inside(address), headers={"cookie": owner}).status_code == 200
        headers = {"cookie": owner, "x-csrf-token": csrf_of(page.text)}
        link = client.post(inside("/palate/owner/api/raters"), json={"name": "b"}, headers=headers).json()["link"]
        assert link.startswith("https://example.org/palate/r/")
        assert client.get(inside(link.removeprefix(ORIGIN))).status_code == 303


def test_no_script_of_the_pages_requests_an_address_without_the_path():
    static = Path(__file__).parents[2] / "src" / "palate" / "collect" / "web" / "static"
    for script in static.glob("*.js"):
        for asked in re.findall(r"fetch\(([^,)]*)", script.read_text("utf-8")):
            assert "BASE" in asked, (script.name, asked)


def test_a_path_that_only_begins_with_the_studys_path_is_not_served(tmp_path):
    with site(tmp_path / "study", items=1, serve={"url": URL}) as made:
        client = made.stranger()
        assert client.get("/palatex/static/style.css").status_code == 404
        assert client.get("/palate/static/style.css").status_code == 200
        assert client.get("/palate").status_code == 401


@pytest.mark.parametrize(
    "url",
    [
        "https://example.org/a/../b",
        "https://example.org/api",
        "https://example.org/static/x",
        "https://example.org/?a=1",
        "https://example.org/#a",
        "https://me:secret@example.org",
        "https://example.org/a b",
        "https://example.org/a;b",
        "https://example.org:port",
        "https://",
        "ftp://example.org",
        "example.org",
    ],
)
def test_an_address_that_cannot_be_served_at_is_refused_before_anything_starts(url):
    with pytest.raises(ValueError, match="url must"):
        ServeConfig(study=Path("x"), url=url)


@pytest.mark.parametrize("name", ["proxy", "127.0.0.1:80", "", "*", "10.0.0.0/40"])
def test_a_proxy_that_is_not_an_address_is_refused(name):
    with pytest.raises(ValueError, match=re.escape(repr(name))):
        ServeConfig(study=Path("x"), behind_proxy=(name,))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 0.0, -1.0])
def test_a_rate_that_limits_nothing_is_refused(value):
    with pytest.raises(ValueError, match="rate"):
        ServeConfig(study=Path("x"), rate=value)


def test_the_origin_is_compared_as_browsers_write_it(tmp_path):
    """Browsers' Origin headers have neither the scheme's default port nor capitals."""
    for number, (url, origin) in enumerate(
        [("https://Example.org:443", ORIGIN), ("http://example.org:80/x", "http://example.org")]
    ):
        with site(tmp_path / str(number), items=1, mirror=0.0, serve={"url": url}) as made:
            client = made.stranger(headers={"cookie": f"{made.cookie('rater')}={made.study.add_rater('a')}"})
            client.headers.update({"x-csrf-token": csrf_of(client.get("/").text), "origin": origin})
            assert vote(client, screens(client)[0]["assignment"]).status_code == 200


def test_without_a_url_the_scheme_is_the_one_that_a_trusted_proxy_states(tmp_path):
    for number, (behind, status) in enumerate((((), 403), (("127.0.0.1",), 200))):
        with site(tmp_path / str(number), items=1, mirror=0.0, serve={"behind_proxy": behind}) as made:
            token = made.study.add_rater("a")
            client = made.stranger(client=("127.0.0.1", 5), headers={"x-forwarded-proto": "https"})
            entered = client.get(f"/r/{token}")
            assert ("secure" in entered.headers["set-cookie"].lower()) == bool(behind)
            client.headers["cookie"] = f"{made.cookie('rater')}={token}"
            client.headers.update({"x-csrf-token": csrf_of(client.get("/").text), "origin": "https://study.test"})
            assert vote(client, screens(client)[0]["assignment"]).status_code == status


def test_two_studies_on_one_host_do_not_log_each_other_out(tmp_path):
    """Browsers keep cookies by host, whatever the port."""
    with site(tmp_path / "one", items=1) as one, site(tmp_path / "two", items=1) as two:
        jar = one.stranger()
        for each in (one, two):
            client: TestClient = each.stranger(cookies=jar.cookies)
            assert client.get(f"/r/{each.study.add_rater('a')}").status_code == 303
            assert client.get(f"/owner/enter/{each.study.renew_owner()}").status_code == 303
            jar.cookies.update(client.cookies)
        for each in (one, two):
            client = each.stranger(cookies=jar.cookies)
            assert client.get("/api/screens").status_code == 200
            assert client.get("/owner").status_code == 200


def addresses(host: str, **changes: Any) -> list[str]:
    with socket.create_server(("127.0.0.1", 0)) as wire:
        port = wire.getsockname()[1]
        found = addresses_of(ServeConfig(study=Path("x"), host=host, **changes), wire)
        return [each.replace(str(port), "PORT") for each in found]


def test_a_server_that_listens_on_all_addresses_prints_ones_that_can_be_opened(monkeypatch):
    entries = [(socket.AF_INET, 1, 6, "", (each, 0)) for each in ("127.0.1.1", "192.0.2.7", "169.254.0.9")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: entries)
    monkeypatch.setattr("palate.collect.web.addresses._outward", lambda families: [])
    assert addresses("0.0.0.0") == ["http://192.0.2.7:PORT"]
    entries.clear()
    assert addresses("0.0.0.0") == ["http://127.0.0.1:PORT"]
    assert addresses("127.0.0.1") == ["http://127.0.0.1:PORT"]
    assert addresses("0.0.0.0", url=URL) == ["https://example.org/palate"]


def test_addresses_of_this_machine_are_found_without_sending_anything():
    for each in reachable("0.0.0.0", socket.AF_INET):
        assert re.fullmatch(r"\d+\.\d+\.\d+\.\d+", each) and each != "0.0.0.0"
    assert reachable("::1", socket.AF_INET6) == ["[::1]"]


def test_addresses_that_one_client_can_have_form_one_group():
    assert group_of("2001:db8::1") == group_of("2001:db8::ffff:2") != group_of("2001:db8:0:1::1")
    assert group_of("::1") != group_of("0.0.0.1")
    assert group_of("::ffff:192.0.2.1") == group_of("192.0.2.1") != group_of("192.0.2.2")
    assert group_of("testclient") == "testclient"
