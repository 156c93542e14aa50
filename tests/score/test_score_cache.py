"""Scores are kept by image, prompt and scorer: nothing is computed twice, and nothing that has changed is reused."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pictures import image_folder
from score.measured import Change, Channel
from score.test_remote import ABOUT, answering

from palate.cli.main import main
from palate.core.runs import RunFolder
from palate.score.score_cache import FILE, KeptScores
from palate.score.scored import read_scores
from palate.score.stage import ScoreConfig, score

Again = Callable[..., Path]


@pytest.fixture
def again(tmp_path: Path) -> Again:
    """Scores a new folder with a picture for each prompt, the same pictures every time, into a new run."""

    def run(prompts: str, *scorers: str, **changes: Any) -> Path:
        number = len(list(tmp_path.glob("images*")))
        images = image_folder(tmp_path / f"images{number}", list(prompts), (8, 8))
        return score(ScoreConfig(images=images, scorer=scorers, out=tmp_path / f"run{number}", **changes))

    return run


def from_cache(run: Path) -> dict[str, int]:
    found = RunFolder(run).finished or {}
    return {name.partition(" of ")[2]: count for name, count in found.items() if name.startswith("scores from the c")}


def test_another_folder_with_the_same_images_is_not_scored_again(channels: Change, again: Again) -> None:
    calls = channels()
    first = again("aab", "red:x", "green:x")
    calls.clear()
    other = again("xyzw", "red:x", "green:x")  # of the four pictures the first three are known, whatever their prompt
    assert calls == [1, 1]
    assert [row["red:x"] for row in read_scores(other)][:3] == [row["red:x"] for row in read_scores(first)]
    assert from_cache(first) == {} and from_cache(other) == {"red:x": 3, "green:x": 3}


def test_the_prompt_counts_if_the_scorer_reads_it(channels: Change, again: Again) -> None:
    calls = channels(reads_prompt=True)
    again("aab", "red:x")
    calls.clear()
    again("abb", "red:x")
    assert calls == [1]


def test_another_fingerprint_another_scorer_or_no_cache_is_scored_anew(channels: Change, again: Again) -> None:
    channels()
    again("ab", "red:x")
    calls = channels(print="retrained")
    again("ab", "red:x")
    assert calls == [2]
    again("ab", "red:x", cache=False)
    assert calls == [2, 2]
    calls = channels()
    again("ab", "green:x")
    assert calls == [2]


def test_a_composite_is_computed_from_the_scores_of_its_parts(channels: Change, again: Again) -> None:
    calls = channels()
    again("aaab", "red:x", "green:x")
    calls.clear()
    run = again("aaab", "sum:1*red:x+1*green:x")
    assert calls == []
    # red 255, 0, 0 and green 0, 128, 0: z is (1.41, -0.71, -0.71) and (-0.71, 1.41, -0.71)
    found = [row["sum:1*red:x+1*green:x"] for row in read_scores(run)]
    assert found == pytest.approx([0.5**1.5, 0.5**1.5, -(0.5**0.5), 0])
    again("aab", "sum:1*red:x+3*green:x")
    assert calls == []


def test_a_score_that_is_not_finite_and_scorers_that_may_change_are_not_kept(
    channels: Change, again: Again, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = channels(repeatable=False)
    again("ab", "red:x")
    again("ab", "red:x")
    assert calls == [2, 2]
    calls, call = channels(print="blind"), Channel.__call__
    monkeypatch.setattr(Channel, "__call__", lambda *given: call(*given) / 0 * 0)
    with pytest.raises(Exception, match="not finite"):
        again("ab", "red:x")
    monkeypatch.setattr(Channel, "__call__", call)
    again("ab", "red:x")
    assert calls == [2, 2]


@pytest.mark.parametrize("version, asked", [({}, 2), ({"version": "server 1"}, 1)])
def test_a_remote_scorer_is_kept_if_its_server_says_its_version(
    again: Again, version: dict[str, str], asked: int
) -> None:
    requests = []

    def answers(path: str, number: int) -> tuple[int, Any]:
        if path == "/scorers":
            return 200, {"protocol": 1, "scorers": [{**ABOUT, **version}]}
        requests.append(number)
        return 200, {"scores": [1.0, 2.0], "fingerprint": "f", **version}

    with answering(answers) as address:
        runs = [again("ab", f"remote:{address}") for _ in range(2)]
    assert len(requests) == asked
    assert [[row[f"remote:{address}"] for row in read_scores(run)] for run in runs] == [[1.0, 2.0]] * 2


WRITER = """
import sys, types
from pathlib import Path
from palate.score.score_cache import KeptScores
class Scorer:
    name, reads_prompt = "s", True
    def fingerprint(self): return "f"
kept = KeptScores(Scorer(), Path(sys.argv[1]))
"""
WRITES = "for n in range(40): kept.put({kept.key(f'{sys.argv[2]}-{n}-{m}', 'a'): n + m / 8 for m in range(8)})"
DIES = """
import os, sqlite3
database = sqlite3.connect(kept._file)
database.execute("PRAGMA cache_spill = 1"); database.execute("PRAGMA cache_size = 1")
database.execute("BEGIN")
for n in range(20000):
    database.execute("INSERT INTO scores VALUES (?, ?)", (kept.key(f'dead-{n}', 'a'), 1.0))
os.kill(os.getpid(), 9)
"""


def process(folder: Path, then: str, *argv: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", WRITER + then, str(folder), *argv]
    return subprocess.Popen(command)


def read_by_another(folder: Path, names: list[str]) -> str:
    then = f"print(list(kept.get([kept.key(name, 'a') for name in {names!r}]).values()))"
    return subprocess.run([sys.executable, "-c", WRITER + then, str(folder)], capture_output=True, text=True).stdout


def test_two_processes_write_at_once_and_no_score_is_lost(own_cache: Path) -> None:
    writers = [process(own_cache, WRITES, name) for name in ("one", "two")]
    assert [each.wait() for each in writers] == [0, 0]
    names = [f"{name}-{n}-{m}" for name in ("one", "two") for n in range(40) for m in range(8)]
    assert len(eval(read_by_another(own_cache, names))) == 640


def test_a_process_that_is_killed_while_it_writes_leaves_what_was_there(own_cache: Path) -> None:
    assert process(own_cache, WRITES, "one").wait() == 0
    assert process(own_cache, DIES).wait() == -9
    (journal,) = own_cache.rglob("*-journal")
    assert journal.stat().st_size > 0  # it died in the middle
    assert eval(read_by_another(own_cache, ["one-5-4", "dead-0", "dead-9"])) == [5.5]


def test_a_cache_that_cannot_be_used_is_reported_and_scores_are_computed(
    channels: Change, again: Again, own_cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = channels()
    again("ab", "red:x")
    (file,) = own_cache.rglob(FILE)
    file.write_bytes(b"nonsense " * 999)
    again("ab", "red:x")
    said = capsys.readouterr().err
    assert "the cache of red:x cannot be used: file is not a database" in said
    assert f"`palate cache prune {file.parent.name}` deletes it" in said
    assert main(["cache", "prune", file.parent.name]) == 0
    monkeypatch.setenv("PALATE_CACHE", "/dev/null/cache")
    again("ab", "red:x")
    assert "the cache of red:x cannot be used: cannot use the cache" in capsys.readouterr().err
    assert calls == [2, 2, 2]


def test_the_cache_command_lists_them(channels: Change, again: Again, capsys: pytest.CaptureFixture[str]) -> None:
    channels()
    again("ab", "red:x")
    assert main(["cache"]) == 0
    assert any(line.startswith("scores-") and line.endswith("red:x") for line in capsys.readouterr().out.splitlines())


def test_the_command_has_the_flag(channels: Change, tmp_path: Path) -> None:
    calls = channels()
    images = image_folder(tmp_path / "images", ["a"], (8, 8))
    for name in ("one", "two"):
        argv = ["--images", str(images), "--scorer", "red:x", "--out", str(tmp_path / name), "--no-cache"]
        assert main(["score", *argv]) == 0
    assert calls == [1, 1]


def test_many_keys_are_asked_for_in_parts(channels: Change) -> None:
    kept = KeptScores(Channel("R", []))
    scores = {kept.key(str(number), ""): float(number) for number in range(1201)}
    kept.put(scores)
    assert kept.get(list(scores)) == scores
    assert kept.get([kept.key("other", "")]) == {}
