"""`palate collect` as somebody types it: a study, its links, how it stands, its votes, and what is refused."""

from __future__ import annotations

import re
import socket
from pathlib import Path

import pytest
from collect.database import answer_next, drawn

from palate.cli.main import main
from palate.collect.study import open_study

LINK = r"http://127\.0\.0\.1:8642/r/[\w-]{43}"


def told(capsys: pytest.CaptureFixture[str], *words: object) -> list[str]:
    """The lines that a command says where all is well."""
    assert main([str(word) for word in ("collect", *words)]) == 0
    return capsys.readouterr().out.splitlines()


def refused(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    """The one line that a command says where it refuses."""
    assert main([str(word) for word in ("collect", *words)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


@pytest.fixture
def folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    sources = [drawn(tmp_path / name, ["a cat", "a dog"], name) for name in ("base", "tuned")]
    lines = told(capsys, "new", "--images", *sources, "--out", tmp_path / "study", "--mirror", 0)
    assert "2 real items, 4 images, 0 raters" in lines[0] and "palate collect invite" in lines[1]
    return tmp_path / "study"


def names(folder: Path) -> int:
    study = open_study(folder)
    study.close()
    return study.counts()["raters"]


def test_a_study_is_made_answered_followed_and_exported(folder, capsys):
    lines = told(capsys, "invite", "--study", folder, "--rater", "ada", "ben")
    assert [re.sub(LINK, "LINK", line) for line in lines] == ["ada: LINK", "ben: LINK"]
    study = open_study(folder)
    for rater in (1, 2):
        answer_next(study, rater)
    study.close()
    lines = told(capsys, "status", "--study", folder)
    assert lines[0] == "votes: 2 of 10" and any(line.startswith("rater ada: 1 vote") for line in lines)
    out = folder.parent / "votes"
    lines = told(capsys, "export", "--study", folder, "--out", out)
    assert f"palate align dpo --model MODEL --preferences {out}" in lines[-1]
    assert told(capsys, "import", "--source", out, "--out", folder.parent / "again")


def test_all_are_invited_or_none(folder, capsys):
    told(capsys, "invite", "--study", folder, "--rater", "ada")
    for rest, words in ((["ben", "ada"], "named 'ada'"), (["ben", "ben"], "each once"), (["ben", " "], "1 to 80")):
        assert words in refused(capsys, "invite", "--study", folder, "--rater", *rest)
    assert names(folder) == 1


def test_a_renewed_link_is_new_and_a_new_name_beside_it_is_invited(folder, capsys):
    (old,) = told(capsys, "invite", "--study", folder, "--rater", "ada")
    new, ben = told(capsys, "invite", "--study", folder, "--rater", "ada", "ben", "--renew", "--url", "https://x.org/")
    assert new.startswith("ada: https://x.org/r/") and ben.startswith("ben: ") and names(folder) == 2
    study = open_study(folder)
    assert [study.rater(line.rsplit("/", 1)[1]) for line in (old, new, ben)] == [None, 1, 2]
    study.close()


def test_an_address_that_cannot_be_listened_on_is_said_in_one_line(folder, capsys):
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        line = refused(capsys, "serve", "--study", folder, "--port", port)
    assert f"cannot listen on 127.0.0.1:{port} (" in line and "--port" in line
    assert "cannot listen on 256.1.1.1:1 (" in refused(
        capsys, "serve", "--study", folder, "--host", "256.1.1.1", "--port", 1
    )


def test_what_is_no_study_is_refused(tmp_path, folder, capsys):
    for command in ("serve", "status"):
        assert "is not a study" in refused(capsys, command, "--study", tmp_path)
    assert "is not a study" in refused(capsys, "invite", "--study", tmp_path, "--rater", "ada")
    assert "is not a study" in refused(capsys, "export", "--study", tmp_path, "--out", tmp_path / "votes")
    assert "no vote to export" in refused(capsys, "export", "--study", folder, "--out", tmp_path / "votes")
    assert not (tmp_path / "votes").exists()


def test_live_mode_of_a_model_that_is_not_there_leaves_nothing(tmp_path, capsys):
    assert "no model named 'nosuch'" in refused(capsys, "new", "--live", "nosuch", "--out", tmp_path / "study")
    assert not (tmp_path / "study").exists()
