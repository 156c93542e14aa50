"""A user's own scorer works like any other in every command that takes a scorer."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from pictures import image_folder

from palate.core.errors import InputError, RunFolderError
from palate.prefer.from_scores import FromScoresConfig, prefer_from_scores
from palate.prefer.load import load_preferences
from palate.score.load import load_scorer
from palate.score.scored import read_scores, read_summaries
from palate.score.stage import ScoreConfig, score

REDNESS = """
class Redness:
    higher_is_better = True
    reads_prompt = False

    def __init__(self, device):
        self.device = device

    def __call__(self, images, prompts):
        return [image.getpixel((0, 0))[0] / 255 for image in images]
"""
SPEC = "python:mine_scorer:Redness"


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Writes the user's module into the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))

    def write(text: str) -> None:
        (tmp_path / "mine_scorer.py").write_text(text)
        sys.modules.pop("mine_scorer", None)

    yield write
    sys.modules.pop("mine_scorer", None)


def test_a_user_s_scorer_scores_and_ranks_under_its_spec(mine, tmp_path: Path) -> None:
    mine(REDNESS)
    images = image_folder(tmp_path / "images", ["a", "a", "a"], (8, 8))
    run = score(ScoreConfig(images=images, scorer=(SPEC,), out=tmp_path / "scores"))
    assert [row[SPEC] for row in read_scores(run)] == [1.0, 0.0, 0.0]
    assert read_summaries(run)[SPEC].higher_is_better is True
    (ranked,) = load_preferences(prefer_from_scores(FromScoresConfig(scores=run, out=tmp_path / "sets")))
    assert ranked.ranks == (1, 2, 2)


def test_a_user_s_scorer_gets_the_device_and_its_reads_prompt_is_used(mine) -> None:
    mine(REDNESS)
    scorer = load_scorer(SPEC, "cpu")
    assert (scorer.reads_prompt, scorer.differentiable, scorer.name) == (False, False, SPEC)
    assert scorer._scorer.device == "cpu"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("class Redness: ...", r"it lacks __call__\(images, prompts\) and higher_is_better \(True or False\)"),
        (REDNESS.replace("higher_is_better = True", ""), r"it lacks higher_is_better \(True or False\)"),
        (REDNESS.replace("higher_is_better = True", "higher_is_better = 'yes'"), "it lacks higher_is_better"),
        ("def Redness(): return None", "made NoneType, which is not a scorer"),
    ],
)
def test_an_object_that_lacks_a_part_of_the_protocol_is_refused_with_that_part(mine, text: str, said: str) -> None:
    mine(text)
    with pytest.raises(InputError, match=said):
        load_scorer(SPEC)


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        ("[1.0]", r"gives scores of shape \[1\] for 2 images"),
        ("1.0", r"gives scores of shape \[\] for 2 images"),
        ("['a', 'b']", "raised (ValueError|TypeError): "),
        ("[1.0, float('nan')]", r"images/1\.png: the score of python:mine_scorer:Redness: not finite"),
        ("{}[0]", "raised KeyError: 0"),
    ],
)
def test_invalid_scores_are_refused_without_a_traceback(mine, tmp_path: Path, returned: str, said: str) -> None:
    mine(REDNESS.replace("[image.getpixel((0, 0))[0] / 255 for image in images]", returned))
    images = image_folder(tmp_path / "images", ["a", "a"], (8, 8))
    with pytest.raises(InputError, match=said):
        score(ScoreConfig(images=images, scorer=(SPEC,), out=tmp_path / "run"))


def test_scores_of_changed_code_are_refused_unless_its_fingerprint_is_the_same(mine, tmp_path: Path) -> None:
    images = image_folder(tmp_path / "images", ["a"], (8, 8))
    config = ScoreConfig(images=images, scorer=(SPEC,), out=tmp_path / "run")
    mine(REDNESS)
    score(config)
    mine(REDNESS.replace("255", "128"))
    with pytest.raises(RunFolderError, match=f"inputs.scorer {SPEC}"):
        score(config)

    versioned = REDNESS + "\n    def fingerprint(self):\n        return 'version 1'\n"
    config = ScoreConfig(images=images, scorer=(SPEC,), out=tmp_path / "other")
    mine(versioned)
    score(config)
    mine(versioned + "\n# a remark\n")
    score(config)
