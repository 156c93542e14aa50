"""The score command: a line an image, resumed without scoring twice, bad input refused before any work."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from pictures import encoded, image_folder

from palate.cli.main import main
from palate.core.errors import InputError, RunFolderError
from palate.core.runs import RunFolder
from palate.records.image_folder import read_image_folder
from palate.records.jsonlines import JsonLines
from palate.score.filter import FilterConfig, filter_images
from palate.score.image import ImageScorer
from palate.score.load import load_scorer
from palate.score.scored import read_scores, read_summaries
from palate.score.stage import ScoreConfig, score

pytestmark = pytest.mark.usefixtures("untrained_judges")


@pytest.fixture
def images(tmp_path: Path) -> Path:
    return image_folder(tmp_path / "images", ["a red star", "a red star", "two blue circles"])


def test_every_image_has_a_row_with_each_scorer_s_number(images: Path, tmp_path: Path) -> None:
    specs = ("teacher:utility", "teacher:unsafe")
    run = score(ScoreConfig(images=images, scorer=specs, out=tmp_path / "run", batch=2))
    rows = read_scores(run)
    assert [(row["file_name"], row["prompt"], row["prompt_index"], row["image_index"]) for row in rows] == [
        ("images/0.png", "a red star", 0, 0),
        ("images/1.png", "a red star", 0, 1),
        ("images/2.png", "two blue circles", 1, 0),
    ]
    assert all(isinstance(row[spec], float) for row in rows for spec in specs)
    summary = read_summaries(run)["teacher:utility"]
    values = [row["teacher:utility"] for row in rows]
    assert summary.mean == pytest.approx(sum(values) / 3)
    assert (summary.lowest, summary.highest, summary.images, summary.higher_is_better) == (
        min(values),
        max(values),
        3,
        True,
    )
    assert read_summaries(run)["teacher:unsafe"].higher_is_better is False


def test_an_interrupted_run_scores_only_what_is_left(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = ScoreConfig(images=images, scorer=("teacher:appeal",), out=tmp_path / "run", cache=False)
    run = score(config)
    whole = (run / "scores.jsonl").read_bytes()
    (run / "summary.json").unlink()
    (run / "scores.jsonl").write_bytes(whole[: whole.index(b"\n") + 10])
    scorer, seen = load_scorer("teacher:appeal"), []
    monkeypatch.setattr(type(scorer), "__call__", _remembering(type(scorer).__call__, seen))
    score(config)
    assert seen == [2]
    assert [row["file_name"] for row in read_scores(run)] == ["images/0.png", "images/1.png", "images/2.png"]


def _remembering(call, seen: list[int]):
    def remember(self, images, prompts):
        seen.append(len(images))
        return call(self, images, prompts)

    return remember


def test_bad_input_is_refused_before_anything_is_written(images: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no measure 'beauty'"):
        score(ScoreConfig(images=images, scorer=("teacher:beauty",), out=tmp_path / "run"))
    (images / "images/1.png").write_bytes(b"")
    with pytest.raises(InputError, match="1.png is empty"):
        score(ScoreConfig(images=images, scorer=("teacher:utility",), out=tmp_path / "run"))
    assert not (tmp_path / "run").exists()
    run = score(ScoreConfig(images=images, scorer=("teacher:utility",), out=tmp_path / "run", skip_bad=True))
    assert (RunFolder(run).finished or {})["bad rows"] == 1


def test_other_images_into_the_same_folder_are_refused(images: Path, tmp_path: Path) -> None:
    score(ScoreConfig(images=images, scorer=("teacher:utility",), out=tmp_path / "run"))
    other = image_folder(tmp_path / "other", ["a red star"])
    with pytest.raises(RunFolderError, match="images: .*images there, .*other now"):
        score(ScoreConfig(images=other, scorer=("teacher:utility",), out=tmp_path / "run"))


def test_an_unfinished_run_has_no_summaries(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a finished run of `palate score`"):
        read_summaries(tmp_path)
    with pytest.raises(InputError, match="has no scores"):
        read_scores(tmp_path)


def test_the_command_prints_a_table_and_what_comes_next(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "run")
    argv = ["score", "--images", str(images), "--scorer", "teacher:utility", "teacher:appeal", "--out", out]
    assert main(argv) == 0
    header, utility, appeal, where, following = capsys.readouterr().out.splitlines()
    assert header.split() == ["mean", "spread", "lowest", "highest", "images"]
    assert (utility.split()[0], appeal.split()[0], appeal.split()[-1]) == ("teacher:utility", "teacher:appeal", "3")
    assert where.endswith("scores.jsonl") and f"--scores {out}" in following
    assert json.loads((tmp_path / "run/summary.json").read_text())["images"] == 3


def test_images_without_prompts_are_scored_only_by_scorers_that_read_no_prompt(tmp_path: Path) -> None:
    folder = tmp_path / "photographs"
    folder.mkdir()
    for number in range(3):
        (folder / f"{number}.png").write_bytes(encoded())
    with pytest.raises(InputError, match="has images and no prompts"):
        score(ScoreConfig(images=folder, scorer=("image:contrast", "teacher:utility"), out=tmp_path / "run"))
    specs = ("image:contrast", "image:brightness")
    rows = read_scores(score(ScoreConfig(images=folder, scorer=specs, out=tmp_path / "run")))
    assert [(row["file_name"], row["prompt"]) for row in rows] == [(f"{number}.png", "") for number in range(3)]
    kept = filter_images(FilterConfig(scores=tmp_path / "run", column="image:contrast", top=1, out=tmp_path / "kept"))
    assert all("prompt" not in row for row in JsonLines(kept / "metadata.jsonl").read())
    with pytest.raises(InputError, match="no prompt .*`palate caption`"):
        read_image_folder(kept)


def test_a_finished_run_is_the_same_from_another_working_directory(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    score(ScoreConfig(images=Path("images"), scorer=("image:contrast",), out=Path("run")))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    kept = filter_images(FilterConfig(scores=Path("../run"), top=1, out=tmp_path / "kept"))
    assert len(read_image_folder(kept)) == 3
    score(ScoreConfig(images=Path("../images"), scorer=("image:contrast",), out=Path("../run")))


def test_scores_whose_images_are_gone_say_where_they_were(images: Path, tmp_path: Path) -> None:
    run = score(ScoreConfig(images=images, scorer=("image:contrast",), out=tmp_path / "run"))
    images.rename(tmp_path / "moved")
    with pytest.raises(InputError, match=f"the images that {run} scored are not at '{images}' any more"):
        filter_images(FilterConfig(scores=run, top=1, out=tmp_path / "kept"))


@pytest.fixture
def blind(monkeypatch: pytest.MonkeyPatch) -> None:
    """A scorer that gives the first image of each batch no number."""

    def measure(self, images, prompts):
        return torch.tensor([math.nan, *range(1, len(images))])

    monkeypatch.setattr(ImageScorer, "__call__", measure)


@pytest.mark.usefixtures("blind")
def test_a_score_that_is_no_number_is_refused_by_name_or_counted(images: Path, tmp_path: Path) -> None:
    asked = {"images": images, "scorer": ("image:contrast",), "out": tmp_path / "run"}
    with pytest.raises(InputError, match=r"images/0\.png: the score of image:contrast: not finite.*--skip-bad"):
        score(ScoreConfig(**asked))
    with pytest.raises(InputError, match="is not a finished run"):
        read_summaries(tmp_path / "run")
    asked["out"] = tmp_path / "other"
    run = score(ScoreConfig(**asked, skip_bad=True))
    assert [row["file_name"] for row in read_scores(run)] == ["images/1.png", "images/2.png"]
    assert (RunFolder(run).finished or {})["bad rows"] == 1
