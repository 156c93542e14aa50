"""Numbers over HTTP: none is NaN or infinite, in requests or in answers."""

from __future__ import annotations

import json
from typing import Any

import pytest
from collect.database import rows
from collect.web import Site, screens, site, vote

from palate.collect.config import StudyConfig

JSON = {"content-type": "application/json"}


def strict(answer: Any) -> Any:
    """The answer's JSON, read strictly: words such as NaN are an error."""

    def refuse(word: str) -> float:
        raise AssertionError(f"the answer has {word}: {answer.text}")

    assert answer.status_code == 200
    return json.loads(answer.content, parse_constant=refuse)


def answers(made: Site, name: str, task: str, n: int, count: int) -> None:
    client = made.rater(name)
    said: Any = {"pairwise": "left", "best": 0, "ranking": list(range(1, n + 1)), "rating": [3] * n}[task]
    for _ in range(count):
        strict(client.get("/api/screens", params={"ahead": True}))
        for screen in screens(client, 1):
            vote(client, screen["assignment"], said, seconds=0.0)


@pytest.mark.parametrize(("task", "n"), [("pairwise", 2), ("best", 2), ("ranking", 2), ("rating", 1)])
def test_no_answer_has_a_number_that_json_cannot_hold_however_little_is_known(tmp_path, task, n):
    """Without raters, without votes, with one vote, with equal votes, and with all votes."""
    with site(tmp_path / "study", items=3, task=task, n=n, raters_per_item=2) as made:
        owner = made.owner()
        strict(owner.get("/owner/api/quality"))
        for name, count in (("idle", 0), ("once", 1), ("all", 3), ("also", 3)):
            answers(made, name, task, n, count)
            found = strict(owner.get("/owner/api/quality"))
            assert owner.get("/owner").status_code == 200
        assert found["progress"]["votes"] > 0


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999"])
def test_a_number_that_json_cannot_hold_is_refused(tmp_path, number):
    with site(tmp_path / "study", items=3) as made:
        client = made.rater("a")
        own = screens(client)[0]["assignment"]
        name = "00000000-0000-4000-8000-00000000000c"
        ballot = {"uuid": name, "assignment": own, "kind": "answer", "answers": {"general": "left"}, "seconds": 1}
        sent = json.dumps(ballot).replace('"seconds": 1', f'"seconds": {number}')
        assert client.post("/api/votes", content=sent, headers=JSON).status_code == 422
        assert rows(made.study, "SELECT count(*) FROM vote") == [(0,)]


@pytest.mark.parametrize("name", ["lease", "mirror", "gold_share"])
@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_setting_that_is_not_finite_is_refused(tmp_path, name, number):
    with pytest.raises(ValueError, match=name):
        StudyConfig(**{"out": tmp_path, "images": ("x",), name: number})
