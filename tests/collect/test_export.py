"""An export has the votes of the raters: nothing is lost silently, and votes that do not count are left out."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sqlalchemy import insert

from palate.collect.asking import next_screens
from palate.collect.config import StudyConfig
from palate.collect.database_rows import AssignmentRow, ItemRow, VoteRow
from palate.collect.export import ExportConfig, export_study
from palate.collect.new import new_study
from palate.collect.study import OpenStudy, open_study
from palate.collect.voting import VoteRequest, add_vote, quarantine, undo_vote
from palate.core.errors import InputError, RunFolderError
from palate.core.runs import RunFolder
from palate.prefer.grades import load_graded
from palate.prefer.grading import GradeConfig, grade
from palate.prefer.load import load_preferences, locate
from palate.records.images import StoredImage
from palate.records.parquet import write_sets
from palate.records.ranked import RankedSet

Wish = Callable[[str, str], Any]
"""From a prompt and a question to: the best place, a word for a tie, ranks by place, or stars."""


def drawn(folder: Path, name: str, prompts: Sequence[str]) -> Path:
    """A picture of noise for each prompt, as `palate generate` writes it."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for number, prompt in enumerate(prompts):
        pixels = np.random.default_rng([number, *name.encode()]).integers(0, 256, (8, 8, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
        index = prompts[:number].count(prompt)
        rows.append({"file_name": f"{number}.png", "prompt": prompt, "seed": 7 + index, "image_index": index})
    (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@contextmanager
def studied(
    tmp: Path, raters: Sequence[str], names: str = "ab", prompts: str = "xyz", **about: Any
) -> Iterator[OpenStudy]:
    """A study of one picture for each prompt and system, without votes."""
    given: dict[str, Any] = {"mirror": 0.0, "gold_share": 0.0, **about}
    given["images"] = given.get("images") or [f"{name}={drawn(tmp / name, name, prompts)}" for name in names]
    new_study(StudyConfig(out=tmp / "study", **{**given, "images": tuple(given["images"])}))
    study = open_study(tmp / "study")
    for name in raters:
        study.add_rater(name)
    yield study
    study.close()


def positions(task: str, wish: Any, order: Sequence[int]) -> Any:
    """A wish by place as an answer by position."""
    if isinstance(wish, str):
        return wish
    if task == "rating":
        return [wish]
    if task == "ranking":
        return [wish[place] for place in order]
    at = list(order).index(wish)
    return ("left", "right")[at] if task == "pairwise" else at


def vote(study: OpenStudy, rater: int, wish: Wish, count: int = 999) -> None:
    """A rater answers the next screens."""
    task = study.config.task
    for _ in range(count):
        screens = next_screens(study, rater, 1)
        if not screens:
            return
        with study.database.read() as session:
            assignment = session.get_one(AssignmentRow, screens[0].assignment)
            prompt, order = session.get_one(ItemRow, assignment.item_id).prompt, assignment.order
        said = {each: positions(task, wish(prompt, each), order) for each in study.config.questions}
        add_vote(study, rater, VoteRequest(str(uuid.uuid4()), assignment.id, "answer", said, seconds=1.5))


def say(study: OpenStudy, rater: int, kind: Any, reason: str) -> None:
    """A rater skips or flags the next screen."""
    (screen, *_) = next_screens(study, rater, 1)
    add_vote(study, rater, VoteRequest(str(uuid.uuid4()), screen.assignment, kind, reason=reason))


def export(study: OpenStudy, **about: Any) -> Path:
    name = "-".join(["run", *(f"{key}-{value}" for key, value in about.items())])
    return export_study(ExportConfig(**{"study": study.folder, "out": study.folder.parent / name, **about}))


def summary(run: Path) -> dict[str, Any]:
    return RunFolder(run).finished or {}


def ranks_of(run: Path) -> dict[str, tuple[int, ...] | None]:
    return {each.prompt: each.ranks for each in load_preferences(run)}


PAIRS = {"x": (0, 0, 1), "y": (1, 1, 1), "z": ("tie", "both_bad", 0)}


def test_ranked_sets_hold_the_votes_of_each_rater(tmp_path: Path, new_database: Callable[[], str | None]) -> None:
    with studied(tmp_path, ["ann", "bob", "cy"], database=new_database()) as study:
        for rater in (1, 2, 3):
            vote(study, rater, lambda prompt, _: PAIRS[prompt][rater - 1])  # noqa: B023
        run = export(study)
        sets = {each.prompt: each for each in load_preferences(run)}
        assert {prompt: each.ranks for prompt, each in sets.items()} == {"x": (1, 2), "y": (2, 1), "z": (1, 1)}
        assert [(each.rater, each.ranks) for each in sets["x"].votes] == [
            ("rater-1", (1, 2)),
            ("rater-2", (1, 2)),
            ("rater-3", (2, 1)),
        ]
        assert (sets["x"].systems, sets["x"].seeds) == (("a", "b"), (7, 7))
        assert sets["x"].images[0].open().tobytes() == Image.open(tmp_path / "a" / "0.png").tobytes()
        assert locate(run) == run / "preferences.parquet"
        assert summary(run) == {
            "ranked sets": 3,
            "images": 6,
            "votes": 9,
            "pairs": 2,
            "tied pairs": 1,
            "raters": 3,
            "answers that all are bad, kept as ties": 1,
        }
        assert load_preferences(export(study, anonymous=False))[0].votes[0].rater == "ann"


def test_other_commands_accept_the_exported_run(tmp_path: Path) -> None:
    with studied(tmp_path, ["ann"]) as study:
        vote(study, 1, lambda *_: 0)
        thumbs = grade(GradeConfig(preferences=str(export(study)), out=tmp_path / "thumbs"))
    assert [each.grade for each in load_graded(thumbs)] == [1.0, 0.0] * 3


def test_what_does_not_count_is_left_out_and_counted(tmp_path: Path) -> None:
    gold = [StoredImage(path=drawn(tmp_path / "gold", "g", ["g", "g"]) / f"{number}.png") for number in (0, 1)]
    write_sets([RankedSet("gold", tuple(gold), (1, 2))], tmp_path / "gold.parquet")
    about = {"mirror": 0.4, "gold": str(tmp_path / "gold.parquet"), "gold_share": 0.4}
    with studied(tmp_path, ["ann", "bob", "cy"], prompts="abcdefghijklmnopqrst", **about) as study:
        vote(study, 1, lambda *_: 0)
        vote(study, 2, lambda *_: 1, 3)
        undo_vote(study, 2, str(uuid.uuid4()))
        say(study, 2, "skip", "unsure")
        say(study, 2, "flag", "broken")
        vote(study, 3, lambda *_: 1, 2)
        quarantine(study, "cy")
        told, everybody = summary(export(study)), summary(export(study, raters="all"))
    mirrored, on_gold = told["votes on mirrored repeats"], told["votes on gold"]
    assert mirrored > 0 and on_gold == 1
    assert {name: told[name] for name in ("skips", "flags", "answers taken back")} == {
        "skips": 1,
        "flags": 1,
        "answers taken back": 1,
    }
    assert (told["votes of quarantined raters"], told["ranked sets"], told["raters"]) == (2, 20, 2)
    assert told["votes"] == 22
    assert (everybody["votes"], everybody["raters"]) == (24, 3)
    assert "votes of quarantined raters" not in everybody


def test_an_answer_that_was_taken_back_is_replaced_by_the_next(tmp_path: Path) -> None:
    with studied(tmp_path, ["ann"], prompts="x") as study:
        vote(study, 1, lambda *_: 0)
        undo_vote(study, 1, str(uuid.uuid4()))
        with pytest.raises(InputError, match=r"no vote to export \(1 answers taken back, 1 items without votes\)"):
            export(study)
        vote(study, 1, lambda *_: 1)
        assert ranks_of(export(study)) == {"x": (2, 1)}


def test_items_with_few_votes_are_left_out_and_sets_won_by_a_small_majority_become_ties(tmp_path: Path) -> None:
    wishes = {"x": (0, 0, 0), "y": (0, 0, 1), "z": (1, "tie", "tie")}
    with studied(tmp_path, ["ann", "bob", "cy"]) as study:
        for rater in (1, 2, 3):
            vote(study, rater, lambda prompt, _: wishes[prompt][rater - 1], 2 if rater == 3 else 9)  # noqa: B023
        few = summary(export(study, least_votes=3))
        assert (few["ranked sets"], few["items with fewer than 3 votes"]) == (2, 1)
        run = export(study, majority=3)
        ranks, votes = ranks_of(run), {each.prompt: len(each.votes) for each in load_preferences(run)}
        assert ranks["x"] == ((1, 2) if votes["x"] == 3 else (1, 1))
        assert ranks["y"] == ranks["z"] == (1, 1)
        assert summary(run)["sets won by too few votes, made ties"] >= 1


def test_one_of_several_questions_is_exported(tmp_path: Path) -> None:
    questions = ("general", "appeal", "Which is funnier?")
    with studied(tmp_path, ["ann"], prompts="x", questions=questions) as study:
        vote(study, 1, lambda _, question: {"general": 0, "appeal": 1}.get(question, "tie"))
        assert ranks_of(export(study)) == {"x": (1, 2)}
        assert ranks_of(export(study, question="appeal")) == {"x": (2, 1)}
        run = export(study, question="Which is funnier?", format="label-studio")
        assert ranks_of(run) == {"x": (1, 1)}
        assert summary(run)["answers to other questions"] == 2
        with pytest.raises(InputError, match="asks no 'apeal'; did you mean 'appeal'"):
            export(study, question="apeal")


@pytest.mark.parametrize("kind", ["palate", "pickapic", "hpdv2", "label-studio"])
def test_a_picture_that_is_missing_ends_the_export_and_leaves_nothing(tmp_path: Path, kind: Any) -> None:
    with studied(tmp_path, ["ann"], prompts="x") as study:
        vote(study, 1, lambda *_: 0)
        next((study.folder / "images").iterdir()).unlink()
        with pytest.raises(InputError, match="does not exist"):
            export_study(ExportConfig(study=study.folder, out=tmp_path / "run", format=kind))
    assert not (tmp_path / "run").exists()


def test_a_finished_export_is_left_alone_and_another_one_is_refused(tmp_path: Path) -> None:
    with studied(tmp_path, ["ann", "bob"]) as study:
        vote(study, 1, lambda *_: 0)
        config = ExportConfig(study=study.folder, out=tmp_path / "run")
        before = (export_study(config) / "preferences.parquet").stat().st_mtime_ns
        assert (export_study(config) / "preferences.parquet").stat().st_mtime_ns == before
        with pytest.raises(RunFolderError, match="least_votes: 1 there, 2 now"):
            export_study(ExportConfig(study=study.folder, out=tmp_path / "run", least_votes=2))
        vote(study, 2, lambda *_: 0, 1)
        with pytest.raises(RunFolderError, match=r"inputs.votes: 3 up to number 3 there, 4 up to number 4 now"):
            export_study(config)


@pytest.mark.parametrize(
    "wrong, complaint",
    [
        ({"least_votes": 0}, "least_votes must be above zero"),
        ({"majority": -1}, "majority must be zero or above"),
        ({"majority": 3, "format": "label-studio"}, "label-studio keeps single votes"),
    ],
)
def test_a_configuration_that_makes_no_sense_is_refused(wrong: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        ExportConfig(**{"study": Path("s"), "out": Path("r"), **wrong})


def test_an_export_that_does_not_fit_the_study_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a study"):
        export_study(ExportConfig(study=tmp_path, out=tmp_path / "run"))
    with studied(tmp_path, ["ann"], "abc", task="ranking", n=3) as study:
        with pytest.raises(InputError, match="majority is of pairwise and best"):
            export(study, majority=3)
        with pytest.raises(InputError, match="palate collect export --study"):
            load_preferences(study.folder)


def test_ten_thousand_votes_take_seconds(tmp_path: Path) -> None:
    with studied(tmp_path, [f"rater {number}" for number in range(5)], prompts="x") as study:
        with study.database.write() as session:
            about = {"purpose": "real", "images": [1, 2], "answer": None, "turn": 0, "filled": 5, "left": 0}
            session.execute(insert(ItemRow), [{"prompt": f"p{number}", **about} for number in range(2000)])
            shown = [{"item_id": 2 + number // 5, "rater_id": 1 + number % 5} for number in range(10_000)]
            lent = {"repeat": 0, "order": [0, 1], "state": "done", "until": 0.0, "created": 0.0}
            session.execute(insert(AssignmentRow), [{**each, **lent} for each in shown])
            said = {"answers": {"general": "left"}, "ranks": {"general": [1, 2]}, "order": [0, 1]}
            cast_ = {"kind": "answer", "said": said, "created": 0.0}
            votes = [{**each, "assignment_id": n, "uuid": str(n), **cast_} for n, each in enumerate(shown, 1)]
            session.execute(insert(VoteRow), votes)
        started = time.perf_counter()
        assert summary(export(study))["votes"] == 10_000
        assert time.perf_counter() - started < 30  # 3 s on two idle cores; these may be busy
