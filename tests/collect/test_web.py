"""The HTML of the raters' page."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from collect.database import MakeStudy
from fastapi.testclient import TestClient

import palate.collect
from palate.collect.config import ServeConfig
from palate.collect.study import OpenStudy
from palate.collect.web.app import create_app

HERE = "http://study.test"
STATIC = Path(palate.collect.__file__).parent / "static"


@pytest.fixture(params=["sqlite"])
def new_database() -> object:
    """The page does not depend on the database, so these tests use only SQLite."""
    return lambda: None


def visit(study: OpenStudy, token: str | None = None) -> TestClient:
    """A browser that has opened a rater's link, unless there is no token."""
    client = TestClient(create_app(study, ServeConfig(study=study.folder)), base_url=HERE)
    if token:
        assert client.get(f"/r/{token}").status_code == 200
    return client


def page_of(study: OpenStudy, token: str) -> str:
    return visit(study, token).get("/", headers={"accept": "text/html"}).text


class Elements(HTMLParser):
    """Every element's name and attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_the_page_has_no_inline_script_or_style_and_loads_nothing_from_elsewhere(study: MakeStudy):
    made = study(instructions="Look.")
    elements = Elements(page_of(made, made.add_rater("ann"))).found
    for tag, attributes in elements:
        assert tag != "style"
        assert "style" not in attributes
        assert not [name for name in attributes if name.startswith("on")]
        assert tag != "script" or (attributes["src"] or "").startswith("/static/")
        for name in ("src", "href"):
            assert (attributes.get(name) or "/").startswith("/static/") or attributes.get(name) is None


def test_every_answer_has_the_policy_and_no_page_is_cached(study: MakeStudy):
    made = study()
    client = visit(made, made.add_rater("ann"))
    for path in ("/", "/static/rater.js", "/static/style.css", "/api/screens", "/nothing"):
        headers = client.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"], path
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"


def test_modules_are_served_as_scripts_and_import_only_existing_ones(study: MakeStudy):
    client = visit(study())
    for script in STATIC.glob("*.js"):
        answer = client.get(f"/static/{script.name}")
        assert answer.headers["content-type"].startswith("text/javascript")
        for imported in re.findall(r'from "\./([a-z]+\.js)"', answer.text):
            assert (STATIC / imported).is_file(), f"{script.name} imports {imported}"
        assert answer.text.count("\n") <= 300, f"{script.name} wants a second look"


def test_titles_instructions_and_questions_are_text_not_markup(study: MakeStudy):
    evil = '"><script>alert(1)</script>'
    made = study(title=f"title {evil}", instructions=f"read {evil}", questions=(f"why {evil}", "general"))
    page = page_of(made, made.add_rater("ann"))
    assert "<script>alert" not in page
    assert page.count("&lt;script&gt;alert(1)&lt;/script&gt;") >= 4
    assert ("title", {}) in Elements(page).found


def test_the_page_names_no_rater_no_model_and_no_file(study: MakeStudy):
    made = study()
    page = page_of(made, made.add_rater("ann of the east"))
    for secret in ("ann of the east", "base", "tuned", "some-model", ".png"):
        assert secret not in page


def test_a_browser_stores_data_under_a_name_that_a_new_link_does_not_change(study: MakeStudy):
    made = study()
    first, other = made.add_rater("ann"), made.add_rater("ben")
    names = [re.findall(r'data-rater="([0-9a-f]{16})"', page_of(made, token)) for token in (first, other)]
    assert len(names[0]) == len(names[1]) == 1
    assert names[0] != names[1]
    assert re.findall(r'data-rater="([0-9a-f]{16})"', page_of(made, made.renew_rater("ann"))) == names[0]


@pytest.mark.parametrize(
    "changes, fieldsets, values",
    [
        ({}, 1, ['"left"', '"tie"', '"both_bad"', '"right"']),
        ({"task": "best", "n": 2}, 1, ["0", "1", '"tie"', '"all_bad"']),
        ({"task": "rating"}, 1, ["[1]", "[2]", "[3]", "[4]", "[5]"]),
        ({"task": "ranking", "n": 2, "questions": ("general", "appeal")}, 2, []),
    ],
)
def test_every_question_is_a_fieldset_with_the_valid_answers(
    study: MakeStudy, changes: dict, fieldsets: int, values: list[str]
):
    made = study(**changes)
    found = Elements(page_of(made, made.add_rater("ann"))).found
    assert [tag for tag, _ in found].count("fieldset") == [tag for tag, _ in found].count("legend") == fieldsets
    assert [attributes["data-value"] for _, attributes in found if "data-value" in attributes] == values
    figures = [tag for tag, _ in found].count("figure")
    assert figures == made.config.per_screen


def test_only_live_mode_has_a_box_for_a_prompt(study: MakeStudy):
    made = study()
    page = page_of(made, made.add_rater("ann"))
    assert 'data-live="false"' in page
    assert "live-prompt" not in page


def test_a_browser_without_a_cookie_is_asked_to_open_the_link(study: MakeStudy):
    client = visit(study())
    answer = client.get("/", headers={"accept": "text/html"})
    assert answer.status_code == 401
    assert "open the link that you were sent" in answer.text
    vote = {"uuid": "00000000-0000-4000-8000-000000000000", "assignment": 1, "kind": "skip", "reason": "unsure"}
    assert client.post("/api/votes", json=vote, headers={"origin": HERE}).status_code == 401
    assert client.post("/api/votes", json=vote, headers={"origin": "http://elsewhere.test"}).status_code == 403
