"""Preferences made of generated images: ranked by scores, or voted on by simulated raters."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from pictures import image_folder
from PIL import Image

from palate.cli.main import main
from palate.core.errors import InputError
from palate.core.runs import RunFolder
from palate.prefer import simulate
from palate.prefer.from_scores import FromScoresConfig, prefer_from_scores, rank_scores
from palate.prefer.load import load_preferences
from palate.prefer.simulate import SimulateConfig, simulate_preferences
from palate.prefer.simulated_raters import RATERS
from palate.records.ranked import RankedSet

PROMPTS = ["a red star"] * 3 + ["two blue circles"] * 3 + ["alone"]
SCORES = {"teacher:utility": [3.0, 1.0, 2.0, 0.5, 0.45, 0.1, 9.0], "auditor:faithful": [0.0] * 7}


@pytest.fixture
def images(tmp_path: Path) -> Path:
    return image_folder(tmp_path / "images", PROMPTS)


def scored(images: Path, run: Path, scores: dict[str, list[float]], lower_is_better: Sequence[str] = ()) -> Path:
    """What `palate score` leaves."""
    run.mkdir()
    rows = [
        {"file_name": f"images/{i}.png", "prompt": prompt, **{name: values[i] for name, values in scores.items()}}
        for i, prompt in enumerate(PROMPTS)
    ]
    (run / "scores.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (run / "config.yaml").write_text(f"stage: score\npalate: 0\nimages: {images}\n")
    parts = {"mean": 0, "spread": 0, "lowest": 0, "highest": 0, "images": 7}
    summaries = {name: {"higher_is_better": name not in lower_is_better} | parts for name in scores}
    (run / "summary.json").write_text(json.dumps({"images": 7, "scores": summaries}))
    return run


@pytest.mark.parametrize(
    "scores, margin, ranks",
    [
        ([3.0, 1.0, 2.0], 0.0, (1, 3, 2)),
        ([1.0, 1.0, 2.0], 0.0, (2, 2, 1)),
        ([3.0, 2.5, 2.0], 0.5, (1, 1, 2)),  # 2.0 is within the margin of 2.5 and not of the rank's best
        ([3.0, 2.5, 2.0], 1.0, (1, 1, 1)),
    ],
)
def test_scores_within_the_margin_of_a_rank_s_best_share_it(scores: list, margin: float, ranks: tuple) -> None:
    assert rank_scores(scores, margin) == ranks


def test_scores_rank_the_images_of_each_prompt(images: Path, tmp_path: Path) -> None:
    scores = scored(images, tmp_path / "scores", SCORES)
    run = prefer_from_scores(FromScoresConfig(scores=scores, out=tmp_path / "run", margin=0.1))
    first, second = load_preferences(run)
    assert (first.prompt, first.ranks, first.seeds, first.systems) == (
        "a red star",
        (1, 3, 2),
        (0, 1, 2),
        ("some-model",) * 3,
    )
    assert (second.ranks, second.scores) == ((1, 1, 2), {"teacher:utility": (0.5, 0.45, 0.1)})
    assert (RunFolder(run).finished or {})["prompts with a single image"] == 1


def test_lower_can_be_better_and_several_scorers_vote(images: Path, tmp_path: Path) -> None:
    columns = {"teacher:unsafe": [0.9, 0.1, 0.5, 0, 0, 0, 0], "teacher:appeal": [0.9, 0.8, 0.1, 0, 0, 0, 0]}
    scores = scored(images, tmp_path / "scores", columns, lower_is_better=["teacher:unsafe"])
    one = load_preferences(prefer_from_scores(FromScoresConfig(scores=scores, out=tmp_path / "run")))[0]
    assert {vote.rater: vote.ranks for vote in one.votes} == {"teacher:unsafe": (3, 1, 2), "teacher:appeal": (1, 2, 3)}
    assert one.ranks == (2, 1, 3)  # Borda: 0 - 2 + 2 = 0, 2 + 0 = 2, 0 - 2 = -2


@pytest.mark.parametrize(
    "column, complaint",
    [
        ("auditor:faithful", "the auditor judges results and gives no training signal"),
        ("teacher:utilty", "has no scores 'teacher:utilty'; did you mean 'teacher:utility'"),
    ],
)
def test_columns_that_cannot_rank_are_refused(images: Path, tmp_path: Path, column: str, complaint: str) -> None:
    scores = scored(images, tmp_path / "scores", SCORES)
    with pytest.raises(InputError, match=complaint):
        prefer_from_scores(FromScoresConfig(scores=scores, out=tmp_path / "run", column=(column,)))
    assert not (tmp_path / "run").exists()


def test_images_that_were_not_scored_or_moved_are_refused(images: Path, tmp_path: Path) -> None:
    scores = scored(images, tmp_path / "scores", SCORES)
    text = (scores / "scores.jsonl").read_text()
    (scores / "scores.jsonl").write_text(text[: text.rstrip().rindex("\n") + 1])
    with pytest.raises(InputError, match=r"images/6\.png: its 'teacher:utility' is None in .*score the folder again"):
        prefer_from_scores(FromScoresConfig(scores=scores, out=tmp_path / "run"))
    images.rename(tmp_path / "moved")
    with pytest.raises(InputError, match=r"scored are not at '.*images' any more"):
        prefer_from_scores(FromScoresConfig(scores=scores, out=tmp_path / "run"))


@pytest.fixture
def reddish(monkeypatch: pytest.MonkeyPatch) -> None:
    """A scorer that likes red."""

    class Reddish:
        name, higher_is_better = "reddish", True

        def __call__(self, images: Sequence[Image.Image], prompts: Sequence[str]) -> torch.Tensor:
            return torch.tensor([6.0 * image.getpixel((0, 0))[0] / 255 for image in images])  # type: ignore[index]

        def fingerprint(self) -> str:
            return "red"

    monkeypatch.setattr(simulate, "load_scorer", lambda *_: Reddish())


@pytest.mark.usefixtures("reddish")
def test_five_raters_vote_on_each_prompt(images: Path, tmp_path: Path) -> None:
    run = simulate_preferences(SimulateConfig(images=images, scorer="image:red", temperature=0.5, out=tmp_path / "run"))
    first, second = load_preferences(run)
    assert [vote.rater for vote in first.votes] == [rater.name for rater in RATERS]
    assert first.ranks is not None and first.ranks[0] == 1  # red, against green and blue
    assert first.scores == {"reddish": (6.0, 0.0, 0.0)}
    assert len(second.votes) == 5


@pytest.mark.usefixtures("reddish")
def test_votes_depend_on_the_seed_and_not_on_what_else_is_there(images: Path, tmp_path: Path) -> None:
    def votes(name: str, folder: Path, seed: int = 0) -> list[RankedSet]:
        config = SimulateConfig(images=folder, scorer="image:red", temperature=0.5, out=tmp_path / name, seed=seed)
        return load_preferences(simulate_preferences(config))

    fewer = image_folder(tmp_path / "fewer", PROMPTS[:3])
    assert votes("a", images)[0].votes == votes("b", fewer)[0].votes
    assert [one.votes for one in votes("c", images, seed=1)] != [one.votes for one in votes("d", images)]


@pytest.mark.usefixtures("reddish")
def test_the_command_says_what_it_made_and_what_comes_next(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "run")
    assert main(["prefer", "simulate", "--images", str(images), "--scorer", "image:red", "--out", out]) == 0
    said = capsys.readouterr().out
    assert f"{out} has 2 ranked sets, 6 images, 10 votes" in said and "1 prompts with a single image" in said
    assert f"next: palate align dpo --model MODEL --preferences {out}" in said
    assert main(["prefer", "simulte"]) == 2
    assert "did you mean 'simulate'" in capsys.readouterr().err
    assert main(["prefer", "import", "--source", str(tmp_path / "nowhere"), "--out", str(tmp_path / "x")]) == 2
    assert "no preferences at" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()
