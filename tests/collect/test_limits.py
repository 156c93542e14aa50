"""Limits on how fast and how much one may ask, and pictures that are no longer what they were."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from collect.database import rows
from collect.web import Site, screens, site, vote
from fastapi.testclient import TestClient

from palate.collect.web import guard
from palate.collect.web.guard import LARGEST_BODY

RATE = 3.0
BURST = int(RATE * guard.BURST_SECONDS)
JSON = {"content-type": "application/json"}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What the guard takes for the time; it stands still unless a test moves it."""
    now = [1000.0]
    monkeypatch.setattr(guard.time, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def limited(tmp_path: Path, clock: list[float]) -> Iterator[Site]:
    with site(tmp_path / "study", serve={"rate": RATE}) as made:
        yield made


def statuses(client: TestClient, count: int, path: str = "/api/screens") -> list[int]:
    return [client.get(path).status_code for _ in range(count)]


def test_who_asks_too_fast_is_told_to_wait_and_served_again_after_that(limited, clock):
    client = limited.rater("a")
    assert statuses(client, BURST) == [200] * BURST
    refused = client.get("/api/screens")
    assert refused.status_code == 429 and int(refused.headers["retry-after"]) > 0
    assert "wait" in refused.json()["detail"]
    clock[0] += float(refused.headers["retry-after"])
    assert client.get("/api/screens").status_code == 200


def test_others_are_unaffected_also_those_of_the_same_address(limited):
    client, other = limited.rater("a"), limited.rater("b")
    statuses(client, BURST + 20)
    assert client.get("/api/screens").status_code == 429
    assert statuses(other, BURST) == [200] * BURST


def test_made_up_cookies_buy_nothing_and_cost_the_others_nothing(limited):
    client, flood = limited.rater("a"), limited.stranger()
    made_up = [flood.get("/api/screens", headers={"cookie": f"palate_rater={k:043}"}) for k in range(BURST + 20)]
    assert [each.status_code for each in made_up[-20:]] == [429] * 20
    own = flood.get("/api/screens", headers={"cookie": f"palate_rater={0:043}; {client.headers.get('cookie', '')}"})
    assert own.status_code == 429
    assert statuses(client, BURST) == [200] * BURST


def test_a_real_cookie_behind_a_made_up_one_buys_nothing_either(limited):
    client = limited.rater("a")
    real = client.cookies["palate_rater"]
    flood = limited.stranger()
    answers = [
        flood.get("/api/screens", headers={"cookie": f"palate_rater={k:043}; palate_rater={real}"})
        for k in range(2 * BURST + 20)
    ]
    assert [each.status_code for each in answers[-20:]] == [429] * 20


def test_a_vote_that_is_refused_for_haste_can_be_sent_again(limited, clock):
    client = limited.rater("a")
    own = screens(client)[0]["assignment"]
    statuses(client, BURST)
    name = "00000000-0000-4000-8000-00000000000a"
    assert vote(client, own, uuid=name).status_code == 429
    clock[0] += 2
    assert vote(client, own, uuid=name).json() == {"new": True, "done": 1}


def test_a_body_may_have_so_many_bytes_and_not_one_more(tmp_path):
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
def test_a_picture_that_is_not_what_it_was_is_refused_with_a_sentence(tmp_path, harm):
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
