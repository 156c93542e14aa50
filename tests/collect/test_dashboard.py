"""The owner's page and its requests: only for the owner, as in the schema, and only of this study."""

from __future__ import annotations

import re

import pytest
from collect.database import ranked
from collect.saying import answer_all, first, ids
from fastapi.testclient import TestClient
from sqlalchemy import select

from palate.collect.asking import next_screens
from palate.collect.config import ServeConfig
from palate.collect.database_rows import ImageRow
from palate.collect.quality.study_quality import quality
from palate.collect.study import OpenStudy
from palate.collect.voting import VoteRequest, add_vote
from palate.collect.web.app import create_app
from palate.collect.web.schema import QualityOut
from palate.collect.web.session import cookie_of

HERE = "http://study.test"
READS = ("/owner", "/owner/api/quality", "/owner/i/1")
CHANGES = {
    "/owner/api/raters": {"name": "Ada"},
    "/owner/api/raters/renew": {"name": "rater 0"},
    "/owner/api/quarantine": {"name": "rater 0", "on": True},
}
FLAG = "00000000-0000-4000-8000-000000000001"


def client_of(study: OpenStudy) -> TestClient:
    app = create_app(study, ServeConfig(study=study.folder))
    return TestClient(app, base_url=HERE, follow_redirects=False)


def signed_in(study: OpenStudy) -> TestClient:
    """The owner's browser, after the link was opened and the page was loaded."""
    client = client_of(study)
    entered = client.get(f"/owner/enter/{study.renew_owner()}")
    assert (entered.status_code, entered.headers["location"]) == (303, "/owner")
    page = client.get("/owner").text
    client.headers.update({"origin": HERE, "x-csrf-token": re.findall(r'name="csrf" content="(\w+)"', page)[0]})
    return client


@pytest.fixture
def made(study) -> OpenStudy:
    """Two raters have answered everything, and the second has flagged one item."""
    made = study(items=4, raters=2, raters_per_item=2, mirror=0.0)
    answer_all(made, first, raters=[0])
    two = ids(made)[1]
    flagged = next_screens(made, two, 1)[0].assignment
    add_vote(made, two, VoteRequest(FLAG, flagged, "flag", reason="broken: <b>black</b>"))
    answer_all(made, first, raters=[1])
    return made


def test_nobody_but_the_owner_sees_or_changes_anything(made):
    token, link = made.add_rater("Eve"), made.renew_owner()
    strangers = [client_of(made), client_of(made), client_of(made)]
    strangers[1].get(f"/r/{token}")
    strangers[2].cookies.set(cookie_of(made, "owner"), token)
    for client in strangers:
        assert [client.get(path).status_code for path in READS] == [401] * 3
        assert [client.post(path, json=body).status_code for path, body in CHANGES.items()] == [401] * 3
    assert client_of(made).get(f"/owner/enter/{token}").status_code == 404
    assert made.is_owner(link)
    assert [each.quarantined for each in quality(made).raters] == [False] * 3


@pytest.mark.parametrize("header, value", [("x-csrf-token", "0" * 64), ("origin", "http://elsewhere.test")])
def test_a_change_that_no_page_of_the_study_requested_is_refused(made, header, value):
    client = signed_in(made)
    client.headers[header] = value
    assert [client.post(path, json=body).status_code for path, body in CHANGES.items()] == [403] * 3
    assert len(quality(made).raters) == 2


def test_the_measures_over_http_equal_those_of_the_library_and_match_the_schema(made):
    told = signed_in(made).get("/owner/api/quality").json()
    assert told == quality(made).to_dict()
    assert QualityOut.model_validate(told, strict=True)
    assert told["progress"]["flags"] == {"broken": 1} and told["flagged"][0]["remarks"] == ["<b>black</b>"]


def test_the_link_of_a_new_rater_works_once_it_is_shown(made):
    client = signed_in(made)
    link = client.post("/owner/api/raters", json={"name": "Ada"}).json()["link"]
    assert link.startswith(f"{HERE}/r/")
    opened = client_of(made).get(link)
    assert (opened.status_code, opened.headers["location"]) == (303, "/")
    again = client.post("/owner/api/raters", json={"name": "Ada"})
    assert again.status_code == 409 and "Ada" in again.json()["detail"]

    renewed = client.post("/owner/api/raters/renew", json={"name": "Ada"}).json()["link"]
    assert client_of(made).get(link).status_code == 404
    assert client_of(made).get(renewed).status_code == 303
    assert client.post("/owner/api/raters/renew", json={"name": "Bob"}).status_code == 404
    assert link.rsplit("/", 1)[1] not in client.get("/owner").text


def test_a_rater_is_quarantined_and_released(made):
    client = signed_in(made)
    for on in (True, True, False):
        told = client.post("/owner/api/quarantine", json={"name": "rater 1", "on": on})
        assert told.json() == {"name": "rater 1", "quarantined": on}
        assert quality(made).raters[1].quarantined is on
        assert quality(made).progress.votes == (4 if on else 7)
        assert ("Count again" in client.get("/owner").text) is on
    assert client.post("/owner/api/quarantine", json={"name": "nobody", "on": True}).status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        {"name": ""},
        {"name": "x" * 81},
        {"name": "a\x00b"},
        {"name": "a\nb"},
        {"name": 7},
        {"name": "a", "more": 1},
        {"name": "a", "on": "yes"},
        {"name": None},
    ],
)
def test_an_invalid_name_is_refused_before_it_reaches_the_database(study, body):
    client = signed_in(study(items=1, raters=1))
    for path in CHANGES:
        assert client.post(path, json=body).status_code == 422


def test_a_name_of_blanks_is_refused_and_one_of_half_a_character_too(study):
    client = signed_in(study(items=1, raters=1))
    assert client.post("/owner/api/raters", json={"name": "  "}).status_code == 409
    half = client.post(
        "/owner/api/raters", content=b'{"name": "\\ud800"}', headers={"content-type": "application/json"}
    )
    assert half.status_code == 422


def test_only_pictures_of_the_study_are_served(made, tmp_path):
    client = signed_in(made)
    picture = client.get("/owner/i/1")
    assert picture.headers["content-type"] == "image/png" and picture.content.startswith(b"\x89PNG")
    assert client.get("/owner/i/999").status_code == 404
    for wrong in ("0", "-1", "x", "1.5", str(2**63), "9" * 40):
        assert client.get(f"/owner/i/{wrong}").status_code in (404, 422)
    with made.database.read() as session:
        file = made.folder / session.get_one(ImageRow, 1).file
    secret = tmp_path / "secret.png"
    file.rename(secret)
    file.symlink_to(secret)
    assert client.get("/owner/i/1").status_code == 404


def test_a_path_in_the_database_that_leads_out_of_the_pictures_is_not_followed(made):
    (made.folder / "secret.png").write_bytes(b"secret")
    with made.database.write() as session:
        session.scalars(select(ImageRow).where(ImageRow.id == 1)).one().file = "images/../secret.png"
    assert signed_in(made).get("/owner/i/1").status_code == 404


def test_the_page_shows_the_measures_and_escapes_texts_of_people(made):
    made.add_rater('<script>alert("x")</script>')
    page = signed_in(made).get("/owner").text
    for shown in ("<b>7</b> of 8 votes", "broken 1", "rater 1", "base", "tuned", "/owner/i/", "Krippendorff"):
        assert shown in page
    assert "&lt;b&gt;black&lt;/b&gt;" in page and "<b>black" not in page
    assert "<script>alert" not in page


def test_the_page_keeps_to_its_content_security_policy(made):
    client = signed_in(made)
    answer = client.get("/owner")
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["cache-control"] == "no-store"
    assert not re.search(r"\sstyle=|\son\w+=|<style|javascript:", answer.text)
    scripts = re.findall(r"<script[^>]*>", answer.text)
    assert scripts and all("src=" in each for each in scripts)
    for path in re.findall(r'(?:src|href)="(/static/[^"]+)"', answer.text):
        assert client.get(path).status_code == 200


@pytest.mark.parametrize("task, n", [("best", 4), ("ranking", 3), ("rating", 1)])
def test_every_task_has_a_page_before_and_after_votes(study, tmp_path, task, n):
    source = ranked(tmp_path, "sets", 3, tuple(range(1, max(n, 2) + 1)))
    made = study(preferences=source, raters=2, task=task, n=n, questions=("general", "How odd is it?"), mirror=0.0)
    client = signed_in(made)
    page = client.get("/owner").text
    assert "no two raters have answered the same item yet" in page and "n/a" not in page
    answer_all(made, lambda *_: [5] if n == 1 else list(range(1, n + 1)))
    page = client.get("/owner").text
    assert "How odd is it?" in page and "system 0" in page
    assert ("First position" in page) is (n > 1)
    assert QualityOut.model_validate(client.get("/owner/api/quality").json(), strict=True)


def test_the_schema_has_every_route_of_the_owner_with_its_body_and_answer(study):
    app = client_of(study(items=1, raters=1)).app
    paths = app.openapi()["paths"]
    assert {path for path in paths if path.startswith("/owner")} == {*READS[1:2], *CHANGES, "/owner/i/{image_id}"}
    for path in CHANGES:
        body = paths[path]["post"]["requestBody"]["content"]["application/json"]["schema"]
        assert "$ref" in body and paths[path]["post"]["responses"]["200"]["content"]["application/json"]["schema"]
