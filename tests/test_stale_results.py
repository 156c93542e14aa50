"""No stage keeps a result of an input that has changed under the same name: it is repeated, or the run is refused."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from caption.llava import random_llava
from pictures import encoded, image_folder, stored
from safetensors.torch import load_file, save_file
from tiny_pipelines import random_clip, random_stable_diffusion

from palate.caption.stage import CaptionConfig, caption
from palate.choose.best_of import BestOfConfig, generate_best
from palate.core.errors import InputError, RunFolderError
from palate.core.runs import RunFolder
from palate.evaluate.order import OrderConfig, order_sources
from palate.prefer.from_scores import FromScoresConfig, prefer_from_scores
from palate.prefer.grading import GradeConfig, grade
from palate.prefer.importing import ImportConfig, import_preferences
from palate.prefer.relabel import RelabelConfig, relabel
from palate.prefer.simulate import SimulateConfig, simulate_preferences
from palate.records.jsonlines import JsonLines
from palate.records.parquet import write_sets
from palate.records.ranked import RankedSet
from palate.reward.config import BradleyTerryConfig, RewardTestConfig
from palate.reward.stage import train_reward
from palate.reward.testing import test_rewards
from palate.score.filter import FilterConfig, filter_images
from palate.score.scored import read_scores
from palate.score.stage import ScoreConfig, score

SCORER = "image:brightness"


@pytest.fixture
def images(tmp_path: Path) -> Path:
    return image_folder(tmp_path / "images", ["a", "a", "b"], (24, 24))


@pytest.fixture
def scores(images: Path, tmp_path: Path) -> Path:
    return score(ScoreConfig(images=images, scorer=(SCORER,), out=tmp_path / "scores"))


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return random_clip(tmp_path / "clip")


def repaint(images: Path, name: str = "images/1.png") -> None:
    (images / name).write_bytes(encoded("white", (24, 24)))


def retrain(model: Path) -> None:
    """Other weights under the same name."""
    file = next(model.rglob("*.safetensors"))
    changed = {name: value + 0.5 if value.is_floating_point() else value for name, value in load_file(file).items()}
    save_file(changed, file.with_suffix(".part"), metadata={"format": "pt"})
    file.with_suffix(".part").replace(file)


def rankings(folder: Path, *colours: str) -> Path:
    write_sets(
        [RankedSet(prompt, tuple(stored(each, (24, 24)) for each in colours), (1, 2)) for prompt in "abcd"],
        folder / "sets.parquet",
    )
    return folder / "sets.parquet"


def test_score_repeats_only_the_images_that_changed(images, scores, tmp_path, monkeypatch) -> None:
    from palate.score.image import ImageScorer

    before, asked, call = read_scores(scores), [], ImageScorer.__call__

    def counting(self: ImageScorer, shown: Any, prompts: Any) -> Any:
        asked.append(len(shown))
        return call(self, shown, prompts)

    monkeypatch.setattr(ImageScorer, "__call__", counting)
    config = ScoreConfig(images=images, scorer=(SCORER,), out=scores, cache=False)
    score(config)
    assert asked == []
    repaint(images)
    score(config)
    after = {row["file_name"]: row[SCORER] for row in read_scores(scores)}
    assert asked == [1]
    assert after["images/1.png"] == pytest.approx(1.0)
    assert all(after[row["file_name"]] == row[SCORER] for row in before if row["file_name"] != "images/1.png")
    assert (RunFolder(scores).finished or {})["scored again"] == 1


def test_score_drops_the_row_of_an_image_that_is_gone(images, scores) -> None:
    rows = JsonLines(images / "metadata.jsonl").read()
    JsonLines(images / "metadata.jsonl").replace(rows[:2])
    score(ScoreConfig(images=images, scorer=(SCORER,), out=scores))
    assert [row["file_name"] for row in read_scores(scores)] == ["images/0.png", "images/1.png"]
    assert (RunFolder(scores).finished or {})["images"] == 2


def test_score_is_unfinished_while_it_scores_again(images, scores, monkeypatch) -> None:
    from palate.score.image import ImageScorer

    def dies(self: ImageScorer, shown: Any, prompts: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(ImageScorer, "__call__", dies)
    repaint(images)
    with pytest.raises(KeyboardInterrupt):
        score(ScoreConfig(images=images, scorer=(SCORER,), out=scores, cache=False))
    assert RunFolder(scores).finished is None


def test_score_refuses_a_scorer_that_changed(images, clip, tmp_path) -> None:
    config = ScoreConfig(images=images, scorer=(f"clip:{clip}",), out=tmp_path / "run")
    score(config)
    retrain(clip)
    with pytest.raises(RunFolderError, match=r"inputs\.scorer clip:"):
        score(config)


def test_caption_repeats_the_images_that_changed(images, tmp_path) -> None:
    llava = str(random_llava(tmp_path / "llava"))
    config = CaptionConfig(images=images, captioner=llava, question="What is it ?", skip_bad=True, out=tmp_path / "run")
    run = caption(config)
    before = {row["file_name"]: row for row in JsonLines(run / "metadata.jsonl").read()}
    replaced = tmp_path / "new.png"
    replaced.write_bytes(encoded("white", (24, 24)))
    replaced.replace(images / "images/1.png")  # the linked file of the run keeps the old picture
    caption(config)
    after = {row["file_name"]: row for row in JsonLines(run / "metadata.jsonl").read()}
    assert after["images/1.png"]["sha256"] != before["images/1.png"]["sha256"]
    assert after["images/0.png"] == before["images/0.png"]
    assert (run / "images/1.png").read_bytes() == (images / "images/1.png").read_bytes()
    assert (RunFolder(run).finished or {})["captioned again"] == 1
    retrain(Path(llava))
    with pytest.raises(RunFolderError, match=r"inputs\.captioner"):
        caption(config)


def test_a_retrained_reward_is_refused_by_a_run_that_chose_with_the_old_one(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("PALATE_CACHE", str(tmp_path / "cache"))
    model = random_stable_diffusion(tmp_path / "model")
    (tmp_path / "prompts.txt").write_text("a\n")

    def train(*colours: str) -> None:
        shutil.rmtree(tmp_path / "reward", ignore_errors=True)
        sets = rankings(tmp_path, *colours)
        common: dict[str, Any] = {"backbone": "statistics", "steps": 3, "batch": 4, "validation": 0.0}
        train_reward(BradleyTerryConfig(preferences=str(sets), out=tmp_path / "reward", **common))

    train("white", "black")
    config = BestOfConfig(
        model=str(model), prompts=str(tmp_path / "prompts.txt"), images=1, steps=1, best_of=2,
        scorer=f"reward:{tmp_path / 'reward'}", out=tmp_path / "run",
    )  # fmt: skip
    generate_best(config)
    generate_best(config)
    train("black", "white")
    with pytest.raises(RunFolderError, match=r"inputs\.scorer reward:"):
        generate_best(config)


READERS_OF_SCORES: dict[str, Callable[[Path, Path], Path]] = {
    "filter": lambda scores, out: filter_images(FilterConfig(scores=scores, top=1.0, out=out)),
    "from-scores": lambda scores, out: prefer_from_scores(FromScoresConfig(scores=scores, out=out)),
    "grade": lambda scores, out: grade(GradeConfig(scores=scores, out=out)),
}


@pytest.mark.parametrize("stage", READERS_OF_SCORES)
def test_scores_of_a_replaced_image_are_refused(images, scores, tmp_path, stage: str) -> None:
    repaint(images)
    with pytest.raises(InputError, match=r"images/1\.png: it changed since .* scored it; score the folder again"):
        READERS_OF_SCORES[stage](scores, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("stage", READERS_OF_SCORES)
def test_a_finished_result_of_other_scores_is_refused(images, scores, tmp_path, stage: str) -> None:
    run = READERS_OF_SCORES[stage](scores, tmp_path / "run")
    assert READERS_OF_SCORES[stage](scores, tmp_path / "run") == run
    repaint(images)
    score(ScoreConfig(images=images, scorer=(SCORER,), out=scores))
    with pytest.raises(RunFolderError, match=r"inputs\."):
        READERS_OF_SCORES[stage](scores, tmp_path / "run")


def test_votes_on_other_images_are_refused(images, tmp_path) -> None:
    config = SimulateConfig(images=images, scorer=SCORER, out=tmp_path / "run")
    simulate_preferences(config)
    repaint(images)
    with pytest.raises(RunFolderError, match=r"inputs\.images"):
        simulate_preferences(config)


RANKED: dict[str, Callable[[Path, Path], Path]] = {
    "relabel": lambda sets, out: relabel(RelabelConfig(preferences=str(sets), scorer=(SCORER,), out=out)),
    "import": lambda sets, out: import_preferences(ImportConfig(source=str(sets), out=out)),
    "grade": lambda sets, out: grade(GradeConfig(preferences=str(sets), out=out)),
    "reward test": lambda sets, out: test_rewards(RewardTestConfig(scorer=(SCORER,), preferences=str(sets), out=out)),
}


@pytest.mark.parametrize("stage", RANKED)
def test_a_result_of_other_rankings_is_refused(tmp_path, stage: str) -> None:
    sets = rankings(tmp_path, "red", "blue")
    assert RANKED[stage](sets, tmp_path / "run") == RANKED[stage](sets, tmp_path / "run")
    rankings(tmp_path, "red", "green")
    with pytest.raises(RunFolderError, match=r"inputs\."):
        RANKED[stage](sets, tmp_path / "run")


@pytest.mark.parametrize("what", ["feedback", "backbone"])
def test_a_reward_learned_from_something_else_is_refused(clip, tmp_path, what: str) -> None:
    sets = rankings(tmp_path, "red", "blue")
    common: dict[str, Any] = {"steps": 2, "batch": 4, "validation": 0.0, "cache": tmp_path / "cache"}
    config = BradleyTerryConfig(preferences=str(sets), backbone=str(clip), out=tmp_path / "run", **common)
    train_reward(config)
    train_reward(config)
    retrain(clip) if what == "backbone" else rankings(tmp_path, "red", "green")
    with pytest.raises(RunFolderError, match=rf"inputs\.{what}"):
        train_reward(config)


def test_an_order_of_other_images_is_refused(images, tmp_path) -> None:
    other = image_folder(tmp_path / "other", ["a", "b"], (24, 24))
    config = OrderConfig(scorer=SCORER, images=(f"one={images}", f"two={other}"), out=tmp_path / "run")
    order_sources(config)
    repaint(images)
    with pytest.raises(RunFolderError, match=r"inputs\.images"):
        order_sources(config)
