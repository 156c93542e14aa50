"""One server for a study at a time, and a folder that only its owner can read."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from collect.database import ballot, new_uuid, small_config
from collect.web import served, site

from palate.cli.collect import run
from palate.collect.asking import next_screens
from palate.collect.claim import FILE, claimed, last_address
from palate.collect.config import ServeConfig
from palate.collect.new import new_study
from palate.collect.study import open_study
from palate.collect.voting import add_vote
from palate.collect.web.server import serve
from palate.core.errors import PalateError


def test_a_study_that_is_served_is_not_served_twice_and_its_owners_link_stays_valid(tmp_path):
    folder = tmp_path / "study"
    with site(folder, items=2) as made, served(folder) as (port, log, process):
        owner = log.read_text().rsplit("/", 1)[1].strip()
        command = [sys.executable, "-m", "palate", "collect", "serve", "--study", str(folder), "--port", "0"]
        second = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert second.returncode != 0 and "Traceback" not in second.stderr
        assert f"served already at http://127.0.0.1:{port} (process {process.pid})" in second.stderr
        assert made.study.is_owner(owner)


def test_a_study_can_be_served_again_after_its_server_was_killed(tmp_path):
    folder = tmp_path / "study"
    with site(folder, items=2):
        with served(folder) as (_, _, process):
            process.send_signal(signal.SIGKILL)
            process.wait(20)
            with served(folder) as (_, log, _):
                assert "owner:" in log.read_text()


def test_one_database_is_served_from_only_one_folder(study):
    made = study(items=2)
    copy = replace(made, folder=made.folder.parent / "copy")
    copy.folder.mkdir()
    with ExitStack() as stack:
        stack.enter_context(claimed(made))
        if made.database.is_sqlite:  # a copy has a database of its own
            stack.enter_context(claimed(copy))
        else:
            with pytest.raises(PalateError, match="another folder"):
                stack.enter_context(claimed(copy))
            assert next_screens(made, 1) and add_vote(
                made, 1, ballot(next_screens(made, 1)[0].assignment, uuid=new_uuid())
            )
    with claimed(copy):
        pass


def test_a_server_that_fails_to_start_unlocks_its_study(tmp_path):
    with site(tmp_path / "study", items=2) as made:
        for _ in range(2):
            with pytest.raises(PalateError, match="cannot listen"):
                serve(ServeConfig(study=made.study.folder, host="192.0.2.1"))


def test_an_invitation_has_the_address_at_which_the_study_is_served(tmp_path, capsys):
    with site(tmp_path / "study", items=2) as made:
        flags = ["invite", "--study", str(made.study.folder), "--rater"]
        assert run([*flags, "ann"]) == 0
        assert "ann: http://127.0.0.1:8642/r/" in capsys.readouterr().out
        with claimed(made.study) as note:
            note("https://example.org/palate")
            assert last_address(made.study.folder) == "https://example.org/palate"
        run([*flags, "ben"])
        assert "ben: https://example.org/palate/r/" in capsys.readouterr().out
        run([*flags, "cleo", "--url", "http://here.test/"])
        assert "cleo: http://here.test/r/" in capsys.readouterr().out


def mode(path: Path) -> str:
    return oct(stat.S_IMODE(path.stat().st_mode))


def test_nobody_but_its_owner_can_read_a_study(tmp_path):
    before = os.umask(0)  # the widest that a user can have
    try:
        folder = tmp_path / "study"
        new_study(small_config(folder, 2, None))
        study = open_study(folder)
        study.add_rater("a")
        files = list(folder.glob("study.db*"))
        assert {each.name for each in files} == {"study.db", "study.db-wal", "study.db-shm"}
        assert {mode(each) for each in files} == {"0o600"} and mode(folder) == "0o700"
        with claimed(study):
            assert mode(folder / FILE) == "0o600"
        study.close()
    finally:
        os.umask(before)


def test_opening_a_study_that_others_can_read_makes_it_private(tmp_path):
    folder = tmp_path / "study"
    new_study(small_config(folder, 2, None))
    other = open_study(folder)  # which keeps the files beside the database there
    other.add_rater("a")
    for each in (folder, *folder.glob("study.db*")):
        each.chmod(0o777 if each.is_dir() else 0o666)
    study = open_study(folder)
    study.add_rater("b")
    assert {mode(each) for each in folder.glob("study.db*")} == {"0o600"} and mode(folder) == "0o700"
    for each in (study, other):
        each.close()
