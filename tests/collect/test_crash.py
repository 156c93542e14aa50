"""A server that is killed at any moment loses no acknowledged vote, and counts no vote twice that is sent again."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from collect.database import ballot, miscounted, new_uuid, rows, small_config

from palate.collect.asking import next_screens
from palate.collect.new import new_study
from palate.collect.study import OpenStudy, open_study
from palate.collect.voting import add_vote, undo_vote

LOAD = Path(__file__).parents[2] / "benchmarks" / "collect_load.py"
DYING = """
import os, signal, sys
from sqlalchemy import event
from palate.collect.study import open_study
from palate.collect.voting import VoteRequest, add_vote, undo_vote

folder, moment, name, assignment = sys.argv[1:]
study = open_study(folder)
die = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
if moment == "before":
    event.listen(study.database.engine, "commit", die)
if assignment == "undo":
    undo_vote(study, 1, name)
else:
    add_vote(study, 1, VoteRequest(name, int(assignment), "answer", {"general": "left"}))
die()
"""


def load(*flags: str) -> dict:
    """The result of the benchmark of many raters in a small run."""
    small = ["--raters", "6", "--think", "0.02", "0.1", "--size", "16", *flags]
    done = subprocess.run([sys.executable, str(LOAD), *small], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_votes_of_many_raters_survive_a_server_that_is_killed_again_and_again():
    found = load("--votes", "60", "--kill", "2")
    assert (found["kills"], found["lost"], found["doubled"], found["unknown"]) == (2, 0, 0, 0)
    assert found["votes"] >= 60 and found["in the database"] == found["acknowledged with undos"]
    assert found["requests sent again"] > 0 and found["wrong counts"] == 0 and found["integrity"] == "ok"


@pytest.mark.slow
def test_a_thousand_votes_survive_twenty_kills():
    found = load("--votes", "1000", "--kill", "20")
    assert (found["kills"], found["lost"], found["doubled"], found["unknown"]) == (20, 0, 0, 0)


@pytest.fixture
def study(tmp_path: Path) -> Iterator[OpenStudy]:
    new_study(small_config(tmp_path / "study", 4, None))
    study = open_study(tmp_path / "study")
    study.add_rater("a")
    yield study
    study.close()


def dying(study: OpenStudy, moment: str, name: str, what: str) -> None:
    """Votes in a process that is killed just before or just after the vote is on disk."""
    command = [sys.executable, "-c", DYING, str(study.folder), moment, name, what]
    assert subprocess.run(command, timeout=60).returncode == -signal.SIGKILL


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_vote_during_which_the_server_dies_counts_once_when_sent_again(study, moment):
    own, name = next_screens(study, 1)[0].assignment, new_uuid()
    dying(study, moment, name, str(own))
    assert rows(study, "SELECT count(*) FROM vote") == [(0 if moment == "before" else 1,)]
    for new in (moment == "before", False):
        receipt = add_vote(study, 1, ballot(own, uuid=name))
        assert (receipt.new, receipt.done) == (new, 1)
    assert rows(study, "SELECT count(*) FROM vote") == [(1,)] and not miscounted(study)


@pytest.mark.parametrize("moment", ["before", "after"])
def test_an_undo_during_which_the_server_dies_takes_back_one_vote_when_sent_again(study, moment):
    for _ in range(2):
        add_vote(study, 1, ballot(next_screens(study, 1)[0].assignment))
    name = new_uuid()
    dying(study, moment, name, "undo")
    for new in (moment == "before", False):
        receipt = undo_vote(study, 1, name)
        assert (receipt.new, receipt.done) == (new, 1)
    assert rows(study, "SELECT count(*) FROM vote") == [(3,)] and not miscounted(study)
