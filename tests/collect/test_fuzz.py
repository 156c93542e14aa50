"""To any request, the API answers as its own OpenAPI schema declares, and never with a server error."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest
import schemathesis
from collect.database import noise
from collect.web import Site, screens, site
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS, load_all_checks

from palate.collect.live import Painter
from palate.collect.web.guard import FILES

DATABASES = ("sqlite", "postgresql")
PEOPLE = ("stranger", "rater", "owner")
EXAMPLES = 40
load_all_checks()
CONFORMS = [
    CHECKS.get_one(name)
    for name in (
        "not_a_server_error",
        "status_code_conformance",
        "content_type_conformance",
        "response_headers_conformance",
        "response_schema_conformance",
    )
]
BOUNDED = hypothesis.settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
NOBODYS = 999_999_999
"""An assignment that is not there."""
UUID = "00000000-0000-4000-8000-000000000001"
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


@pytest.fixture(scope="module", params=DATABASES)
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A study in live mode too, with a model that draws noise."""
    database = request.getfixturevalue("postgresql").new() if request.param == "postgresql" else None
    with site(tmp_path_factory.mktemp("fuzz") / "study", items=30, database=database) as made:
        sample = lambda prompts, seeds: [noise(seed) for seed in seeds]  # noqa: E731
        made.app.state.painter = Painter(made.study, lambda: sample)
        yield made


@pytest.fixture(scope="module")
def people(world: Site) -> dict[str, TestClient]:
    return {"stranger": world.stranger(), "rater": world.rater("rater"), "owner": world.owner()}


@pytest.fixture(scope="module")
def schema(world: Site) -> Any:
    return schemathesis.openapi.from_dict(world.app.openapi())


def checked(client: TestClient, case: Any) -> None:
    """Sends a generated request, and checks the answer."""
    sent = case.as_transport_kwargs(base_url=str(client.base_url))
    if isinstance(sent.get("data"), bytes | str):
        sent["content"] = sent.pop("data")
    cookies, headers = sent.pop("cookies", None) or {}, sent.pop("headers", None) or {}
    if cookies:
        headers = {**headers, "cookie": "; ".join(f"{name}={value}" for name, value in cookies.items())}
    sendable = {name: value for name, value in headers.items() if str(value).isascii() and str(value).isprintable()}
    response = client.request(**sent, headers=sendable)
    case.validate_response(response, checks=CONFORMS)


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["fitting", "unfitting"])
@pytest.mark.parametrize("who", PEOPLE)
def test_every_answer_is_one_that_the_schema_declares(schema, people, who, mode):
    @BOUNDED
    @given(schema.as_strategy(generation_mode=mode))
    def fuzz(case):
        checked(people[who], case)

    fuzz()


def test_the_schema_has_every_route_but_the_pages(world, schema):
    pages = {"/", "/r/{token}", "/owner", "/owner/", "/owner/enter/{token}"}
    fuzzed = {operation.ok().path for operation in schema.get_all_operations()}
    routes = {path for path in routes_of(world.app.routes) if not path.startswith(FILES)}
    assert routes == fuzzed | pages


def routes_of(routes: Any) -> Iterator[str]:
    """The paths of routes, also of those in routers that were included."""
    for route in routes:
        inner = getattr(route, "routes", None) or getattr(getattr(route, "original_router", None), "routes", None)
        yield from routes_of(inner) if inner and not hasattr(route, "endpoint") else [route.path]


@BOUNDED
@given(answers=JSON, reason=JSON, seconds=JSON, kind=st.sampled_from(["answer", "skip", "flag"]))
def test_any_vote_on_a_raters_own_screen_is_accepted_or_refused_without_an_error(
    people, answers, reason, seconds, kind
):
    client = people["rater"]
    (first, *_) = screens(client)
    said = {"answers": answers, "reason": reason, "seconds": seconds}
    body = {"uuid": str(uuid.uuid4()), "assignment": first["assignment"], "kind": kind, **said}
    response = send(client, "/api/votes", json.dumps(body).encode())
    assert response.status_code in (200, 400, 422)
    if response.status_code == 200:
        taken_back = send(client, "/api/undo", json.dumps({"uuid": str(uuid.uuid4())}).encode())
        assert taken_back.status_code == 200


def send(client: TestClient, path: str, body: bytes, content_type: bytes = b"application/json") -> Any:
    response = client.post(path, content=body, headers={"content-type": content_type})
    assert response.status_code < 500
    assert isinstance(response.json()["detail"], str) if response.status_code >= 400 else response.json()
    return response


def vote_of(**changes: Any) -> str:
    fields = {
        "uuid": f'"{UUID}"',
        "assignment": str(NOBODYS),
        "kind": '"answer"',
        "answers": '{"general": "left"}',
        **changes,
    }
    return "{" + ", ".join(f'"{name}": {value}' for name, value in fields.items()) + "}"


NASTY: dict[str, bytes] = {
    "nothing": b"",
    "a byte order mark": b"\xef\xbb\xbf" + vote_of().encode(),
    "no JSON": b"{",
    "a number": b"1",
    "null": b"null",
    "a list": b"[[[[]]]]",
    "NaN": vote_of(seconds="NaN").encode(),
    "infinity": vote_of(seconds="Infinity").encode(),
    "a number beyond all floats": vote_of(seconds="1e999").encode(),
    "an integer beyond the database": vote_of(assignment=str(2**63)).encode(),
    "an integer of many digits": vote_of(assignment="9" * 4000).encode(),
    "an integer of too many digits": vote_of(assignment="9" * 20_000).encode(),
    "many digits in an answer": vote_of(answers='{"general": ' + "9" * 4000 + "}").encode(),
    "a negative number": vote_of(assignment="-1").encode(),
    "true for a number": vote_of(assignment="true").encode(),
    "a fraction for a number": vote_of(assignment="1.0").encode(),
    "depth": b"[" * 30_000 + b"]" * 30_000,
    "depth in an answer": vote_of(answers='{"general": ' + "[" * 20_000 + "]" * 20_000 + "}").encode(),
    "depth of objects": b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
    "NUL in a text": vote_of(kind='"skip"', reason='"other: \\u0000"').encode(),
    "a NUL byte": vote_of(kind='"skip"', reason='"other: \x00"').encode(),
    "half a surrogate pair": vote_of(kind='"skip"', reason='"other: \\ud800"').encode(),
    "half a surrogate pair in a name": vote_of(**{"\\ud800": "1"}).encode(),
    "half a surrogate pair in an answer": vote_of(answers='{"\\udfff": "\\ud800"}').encode(),
    "no UTF-8": vote_of(kind='"skip"').encode() + b"\xff\xfe",
    "no UTF-8 in a text": vote_of(reason='"other: ?"').encode().replace(b"?", b"\xc3\x28"),
    "UTF-16": vote_of().encode("utf-16"),
    "UTF-32": vote_of().encode("utf-32"),
    "a name twice": b'{"uuid": "x", ' + vote_of().encode()[1:],
    "a name that means something to objects": vote_of(__proto__='{"assignment": 1}', __class__="1").encode(),
    "markup": vote_of(kind='"<script>alert(1)</script>"').encode(),
    "a long text": vote_of(kind='"skip"', reason='"other: ' + "x" * 60_000 + '"').encode(),
    "many answers": vote_of(answers=json.dumps({str(k): "left" for k in range(3000)})).encode(),
    "a long list": vote_of(answers=json.dumps({"general": [1] * 20_000})).encode(),
    "SQL": vote_of(uuid='"\'; DROP TABLE vote; --"').encode(),
}


@pytest.mark.parametrize("path", ["/api/votes", "/api/undo", "/api/live", "/owner/api/raters", "/owner/api/quarantine"])
def test_malicious_bodies_are_refused_with_a_sentence(people, path):
    client = people["owner" if path.startswith("/owner") else "rater"]
    for what, body in NASTY.items():
        status = send(client, path, body).status_code
        assert 400 <= status < 500, what


@pytest.mark.parametrize(
    "content_type",
    [
        b"",
        b"text/plain",
        b"application/x-www-form-urlencoded",
        b"multipart/form-data; boundary=x",
        b"application/xml",
        b"\xff",
    ],
)
def test_a_body_of_another_content_type_is_refused(people, content_type):
    assert send(people["rater"], "/api/votes", vote_of().encode(), content_type).status_code == 422


def test_of_a_repeated_key_in_a_vote_the_last_value_counts(people):
    client = people["rater"]
    body = vote_of(uuid=f'"{uuid.uuid4()}"')[:-1] + f', "assignment": {screens(client)[0]["assignment"]}' + "}"
    assert send(client, "/api/votes", body.encode()).status_code == 200
