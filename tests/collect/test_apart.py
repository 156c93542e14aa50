"""The process that measures a study for the owner's page: same results, restart after a kill, end with the server."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from collect.database import small_config
from collect.saying import answer_all, first

from palate.collect.new import new_study
from palate.collect.quality.apart import Apart
from palate.collect.quality.study_quality import quality
from palate.collect.study import open_study

HOLDING = """
import multiprocessing, sys, time
from palate.collect.quality.apart import Apart
from palate.collect.study import open_study

if __name__ == "__main__":
    Apart()(open_study(sys.argv[1]))
    print(multiprocessing.active_children()[0].pid, flush=True)
    time.sleep(60)
"""


@pytest.fixture
def apart() -> Iterator[Apart]:
    made = Apart()
    yield made
    made.close()


def gone(pid: int) -> bool:
    """Whether a process ends within a while."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False


def test_the_other_process_measures_the_same_as_this_one_also_after_new_votes(study, apart):
    made = study(items=4, raters=2, raters_per_item=2, mirror=0.0)
    for rater in (0, 1):
        assert apart(made).to_dict() == quality(made).to_dict()
        answer_all(made, first, raters=[rater])
    found = apart(made)
    assert found.to_dict() == quality(made).to_dict() and found.progress.votes == 8
    assert len(multiprocessing.active_children()) == 1


def test_the_measuring_process_is_restarted_after_a_kill_and_ends_when_closed(tmp_path, apart):
    new_study(small_config(tmp_path / "study", 3, None))
    study = open_study(tmp_path / "study")
    apart(study)
    (before,) = multiprocessing.active_children()
    os.kill(before.pid, signal.SIGKILL)
    before.join(20)
    assert apart(study).progress.items == 3
    (now,) = multiprocessing.active_children()
    assert now.pid != before.pid
    apart.close()
    assert now.exitcode == 0 and not multiprocessing.active_children()
    study.close()


def test_the_measuring_process_ends_when_the_server_is_killed(study):
    made = study(items=2)
    with subprocess.Popen(
        [sys.executable, "-c", HOLDING, str(made.folder)], stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout
        measuring = int(server.stdout.readline())
        assert not Path(f"/proc/{measuring}/stat").read_text().rsplit(")", 1)[1].startswith(" Z")
        server.kill()
    assert gone(measuring)
