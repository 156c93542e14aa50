from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from palate.cli.main import main
from palate.prefer.load import load_preferences
from palate.records.columns import Rankings
from palate.world.grammar import unseen_prompts

SMALL = ["--prompts", "2", "--steps", "2", "--unseen", "2", "--images", "2"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("demo") / "run"
    assert main(["demo", "--out", str(out), *SMALL]) == 0
    return out


def test_the_summary_has_every_number_that_it_promises(folder: Path) -> None:
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["judge"] == "auditor"
    assert set(summary["seconds"]) == {"generate", "prefer", "align", "evaluate"}
    for measure in ("faithful", "appeal"):
        for side in ("base", "aligned"):
            assert set(summary[measure][side]) >= {"value", "low", "high", "n"}
    assert summary["win_rate"]["n"] > 0 and summary["also"]["teacher"]


def test_the_report_shows_the_commands_that_repeat_each_stage(folder: Path) -> None:
    page = re.sub("<[^>]*>", "", (folder / "report.html").read_text())
    for command in ("palate generate", "palate prefer simulate", "palate align dpo", "palate evaluate"):
        assert command in page


def test_running_it_again_does_nothing_again(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights = folder / "aligned" / "metrics.jsonl"
    before = weights.stat().st_mtime_ns
    assert main(["demo", "--out", str(folder), *SMALL]) == 0
    assert weights.stat().st_mtime_ns == before
    assert "report.html" in capsys.readouterr().out


def test_another_size_in_the_same_folder_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--out", str(folder), *SMALL[:-1], "3"]) == 2
    assert "images" in capsys.readouterr().err


def test_the_shipped_comparisons_are_enough_and_show_no_unseen_prompt() -> None:
    sets = load_preferences("tiny-preferences")
    assert sum(len(s.images) * (len(s.images) - 1) // 2 for s in sets) >= 1500
    assert all(len(s.votes) == 5 for s in sets) and len(Rankings.of(sets).pairs()[0]) >= 1500
    assert not {s.prompt for s in sets} & set(unseen_prompts())
