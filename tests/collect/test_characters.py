"""Characters that cannot be stored, or that change how a text is read: refused as input, made visible in texts."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from collect.database import MakeStudy, noise, rows
from collect.web import Site, screens, site, vote
from fastapi.testclient import TestClient

from palate.cli.collect import run
from palate.collect.characters import TURNS, typed_text, unstorable_character, visible_text
from palate.collect.config import StudyConfig
from palate.collect.live import Painter
from palate.collect.new import new_study
from palate.collect.study import OpenStudy, open_study
from palate.core.errors import InputError

OVERRIDE = "\u202e"
DECEIVING = f"a cat {OVERRIDE}god a fo erutcip"


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("a plain prompt, ünïcödé and 漢字", None),
        ("שלום עולם", None),
        ("line one\nline two\tend", None),
        ("👩\u200d👩\u200d👧 family, می\u200cخواهم", None),  # joiners have a meaning
        ("🏴\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f flag", None),
        (DECEIVING, "a cat [U+202E]god a fo erutcip"),
        ("a\u2066b\u2069c", "a[U+2066]b[U+2069]c"),
        ("שלום\u200f!", "שלום!"),
        ("red\x1b[31m, bell\x07", "red[U+001B][31m, bell[U+0007]"),
        ("a\U000e0061\U000e0062b", "a[U+E0061][U+E0062]b"),
        ("half \ud83d", "half [U+D83D]"),
        ("nul \x00", "nul [U+0000]"),
    ],
)
def test_a_shown_text_keeps_characters_with_a_meaning_and_makes_hidden_controls_visible(text, seen):
    assert visible_text(text) == (text if seen is None else seen)
    visible_text(text).encode()


def test_changes_of_direction_are_in_neither_shown_nor_typed_text():
    for each in TURNS:
        assert each not in visible_text(f"a{each}b") and typed_text(f"a{each}b") == "ab"


@pytest.mark.parametrize("text", ["\x00", "a\x1b[2Jb", "\x7f", "\x9b31m", "\ud800"])
def test_control_characters_cannot_be_typed(text):
    with pytest.raises(ValueError, match=r"U\+"):
        typed_text(text)


def test_line_breaks_of_other_programs_become_plain_ones():
    assert typed_text("a\u2028b\u2029c\x0bd\x85e") == "a\nb\nc\nd\ne"


def test_a_character_that_no_database_stores_is_named():
    assert (
        unstorable_character("a\x00") == "U+0000"
        and unstorable_character("\udfff") == "U+DFFF"
        and unstorable_character("a\x1bb") is None
    )


@pytest.mark.parametrize("bad", ["\x00", "\x1b[31m", "\ud800", "\x7f"])
def test_text_that_cannot_be_stored_is_refused_by_every_route_and_changes_nothing(study: MakeStudy, bad):
    made = study(items=3, raters=0)
    with_site = _visit(made)
    rater, owner = with_site.rater("a"), with_site.owner()
    with_site.app.state.painter = Painter(made, lambda: lambda prompts, seeds: [noise(seed) for seed in seeds])
    own = screens(rater)[0]["assignment"]

    def sent(client: TestClient, path: str, body: dict[str, Any]) -> int:
        """The text as JSON escapes, so that lone surrogates are sent too."""
        answer = client.post(path, content=json.dumps(body), headers={"content-type": "application/json"})
        assert isinstance(answer.json()["detail"], str)
        return answer.status_code

    ballot = {"uuid": "00000000-0000-4000-8000-00000000000a", "assignment": own, "kind": "skip"}
    refused = {
        sent(rater, "/api/votes", ballot | {"reason": f"other: {bad}"}),
        sent(rater, "/api/votes", ballot | {"kind": "flag", "reason": f"unsafe:{bad}"}),
        sent(rater, "/api/votes", ballot | {"kind": "answer", "answers": {"general": bad}}),
        sent(rater, "/api/votes", ballot | {"kind": "answer", "answers": {f"general{bad}": "left"}}),
        sent(rater, "/api/live", {"prompt": f"a {bad} cat"}),
        sent(owner, "/owner/api/raters", {"name": f"b{bad}"}),
        sent(owner, "/owner/api/raters/renew", {"name": f"b{bad}"}),
        sent(owner, "/owner/api/quarantine", {"name": f"b{bad}", "on": True}),
    }
    assert refused <= {400, 404, 409, 422}
    assert rows(made, "SELECT count(*) FROM vote") == [(0,)]
    assert vote(rater, own).status_code == 200
    with_site.stack.close()


def _visit(made: OpenStudy) -> Site:
    return Site(made, ExitStack())


def test_changes_of_direction_are_removed_from_reasons_and_prompts_and_a_repeated_vote_counts_once(study: MakeStudy):
    made = study(items=3, raters=0)
    visited = _visit(made)
    rater = visited.rater("a")
    name, own = "00000000-0000-4000-8000-00000000000b", screens(rater)[0]["assignment"]
    for new in (True, False):
        said = vote(rater, own, uuid=name, kind="flag", answers=None, reason=f"unsafe: {DECEIVING}")
        assert said.json()["new"] is new
    ((kept,),) = rows(made, "SELECT said FROM vote")
    kept = json.loads(kept) if isinstance(kept, str) else kept
    assert kept == {"reason": f"unsafe: {DECEIVING.replace(OVERRIDE, '')}"}
    painter = Painter(made, lambda: lambda prompts, seeds: [noise(seed) for seed in seeds])
    assert painter.job(1, painter.ask(1, DECEIVING)).prompt == DECEIVING.replace(OVERRIDE, "")
    visited.stack.close()


def folder_of(path: Path, prompt: str, name: str = "model") -> Path:
    path.mkdir()
    lines = []
    for number in range(2):
        noise(number).save(path / f"{number}.png")
        lines.append(json.dumps({"file_name": f"{number}.png", "prompt": prompt, "image_index": number, "model": name}))
    lines += [
        json.dumps({"file_name": f"{number}.png", "prompt": "sound", "image_index": number}) for number in range(2)
    ]
    (path / "metadata.jsonl").write_text("\n".join(lines))
    return path


@pytest.mark.parametrize("bad", ["\x00", "\ud800"])
def test_a_prompt_that_no_database_keeps_is_a_bad_row_with_a_name(tmp_path, new_database, bad):
    folder = folder_of(tmp_path / "images", f"a {bad} cat")
    with pytest.raises(InputError, match="skip-bad"):
        new_study(StudyConfig(out=tmp_path / "study", images=(str(folder),), database=new_database()))
    config = StudyConfig(out=tmp_path / "other", images=(str(folder),), database=new_database(), skip_bad=True)
    assert new_study(config).counts["bad rows"] >= 1
    study = open_study(tmp_path / "other")
    assert rows(study, "SELECT prompt FROM item") == [("sound",)]
    study.close()


def test_a_prompt_with_hidden_characters_is_stored_unchanged_and_shown_with_them_visible(tmp_path, capsys):
    folder = folder_of(tmp_path / "images", DECEIVING, f"mo{OVERRIDE}del")
    with site(tmp_path / "study", images=(str(folder),), mirror=0.0) as made:
        client, owner = made.rater("a"), made.owner()
        prompts = {each["prompt"]: each["assignment"] for each in screens(client)}
        assert visible_text(DECEIVING) in prompts and not any(OVERRIDE in each for each in prompts)
        flagged = prompts[visible_text(DECEIVING)]
        assert vote(client, flagged, kind="flag", answers=None, reason="unreadable").status_code == 200
        page = owner.get("/owner").text
        assert OVERRIDE not in page and visible_text(DECEIVING) in page
        assert (DECEIVING,) in rows(made.study, "SELECT prompt FROM item")
        assert run(["status", "--study", str(made.study.folder)]) == 0
        assert OVERRIDE not in capsys.readouterr().out


@pytest.mark.parametrize("field", ["title", "instructions", "questions"])
@pytest.mark.parametrize("bad", ["\x00", "\x1b[31m", OVERRIDE])
def test_a_study_with_a_text_that_cannot_be_shown_is_refused(tmp_path, field, bad):
    text = f"Which{bad} one?"
    with pytest.raises(ValueError, match=field):
        StudyConfig(out=tmp_path, images=("x",), **{field: (text,) if field == "questions" else text})
