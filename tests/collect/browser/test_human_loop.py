"""examples/human_loop.sh, clicks and all: generate, collect in a real browser, align on the votes, generate again."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from collect.browser.rater_page import RaterPage

from palate.prefer.load import load_preferences
from palate.records.image_folder import read_image_folder

EXAMPLE = Path(__file__).parents[3] / "examples" / "human_loop.sh"
PROMPTS = 8

pytestmark = pytest.mark.slow


def free_port() -> int:
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        return asked.getsockname()[1]


def start(runs: Path) -> subprocess.Popen[str]:
    given = {"RUNS": str(runs), "LIMIT": str(PROMPTS), "STEPS": "3", "URL": f"http://127.0.0.1:{free_port()}"}
    given |= {"BIN": str(Path(sys.executable).parent), "PALATE_CACHE": str(runs / "cache")}
    command = ["bash", str(EXAMPLE)]
    return subprocess.Popen(command, env=os.environ | given, stdout=subprocess.PIPE, text=True, start_new_session=True)


def told(process: subprocess.Popen[str], pattern: str) -> str:
    """Waits for a line of the process' output and returns the matched part."""
    assert process.stdout
    for line in process.stdout:
        if found := re.search(pattern, line):
            return found.group(1)
    raise AssertionError(f"the example ended without saying {pattern}")


def server_of(process: subprocess.Popen[str]) -> int:
    """The number of the process that serves, a child of the script."""
    listed = subprocess.run(["ps", "-o", "pid=,args=", "-g", str(process.pid)], capture_output=True, text=True)
    return next(int(line.split()[0]) for line in listed.stdout.splitlines() if "collect serve" in line)


def test_votes_from_the_page_train_a_model(page: RaterPage, tmp_path: Path) -> None:
    process = start(tmp_path)
    try:
        link = told(process, r"^me: (\S+)")
        told(process, r"^(owner: \S+)")
        page.open(link)
        seen: list[str] = []
        for count in range(1, PROMPTS + 1):
            seen = page.screen(after=seen)
            page.keys("1")
            page.done(count)
        page.ended()
        os.kill(server_of(process), signal.SIGINT)
        told(process, r"after: (\S+)")
        assert process.wait(60) == 0
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        assert process.stdout
        process.stdout.close()
    sets = load_preferences(tmp_path / "votes")
    assert len(sets) == PROMPTS and all(sorted(each.ranks or ()) == [1, 2] for each in sets)
    assert len(read_image_folder(tmp_path / "after")) == 32
