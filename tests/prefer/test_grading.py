"""Graded images: made of rankings and scores, read from Parquet and folders, refused when they are something else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pictures import encoded

from palate.cli.main import main
from palate.core.errors import InputError
from palate.core.runs import RunFolder
from palate.prefer.grades import load_graded, write_graded
from palate.prefer.grading import GradeConfig, grade
from palate.records.graded_image import GradedImage
from palate.records.images import StoredImage
from palate.records.parquet import write_sets
from palate.records.ranked import RankedSet

COLOURS = ("red", "green", "blue", "white")
IMAGES = tuple(StoredImage(data=encoded(COLOURS[number])) for number in range(4))


@pytest.fixture
def rankings(tmp_path: Path) -> str:
    sets = [
        RankedSet("a cat", IMAGES[:3], (1, 2, 3)),
        RankedSet("a cat", (IMAGES[0], IMAGES[3]), (1, 2)),
        RankedSet("a dog", IMAGES[:2], (1, 1)),
        RankedSet("a cow", IMAGES[:2]),
    ]
    write_sets(sets, tmp_path / "rankings.parquet")
    return str(tmp_path / "rankings.parquet")


@pytest.fixture
def scores(tmp_path: Path) -> Path:
    """A finished run of `palate score`, as it lies on disk."""
    images, run = tmp_path / "images", tmp_path / "scores"
    images.mkdir()
    rows = []
    for number, value in enumerate((-1.0, 0.0, 3.0, 6.0)):
        (images / f"{number}.png").write_bytes(encoded(COLOURS[number]))
        rows.append({"file_name": f"{number}.png", "prompt": "a cat", "teacher:utility": value, "auditor:utility": 0.0})
    (images / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    run.mkdir()
    (run / "config.yaml").write_text(f"stage: score\npalate: '0'\nimages: {images}\n")
    (run / "scores.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    summary = {"higher_is_better": True, "mean": 0.0, "spread": 0.0, "lowest": 0.0, "highest": 0.0, "images": 4}
    found = {"images": 4, "scores": dict.fromkeys(("teacher:utility", "auditor:utility"), summary)}
    (run / "summary.json").write_text(json.dumps(found))
    return run


def test_the_first_rank_is_a_thumb_up_and_the_last_a_thumb_down(rankings: str, tmp_path: Path) -> None:
    run = grade(GradeConfig(preferences=rankings, out=tmp_path / "run"))
    thumbs = load_graded(run)
    assert [(each.prompt, each.grade) for each in thumbs] == [("a cat", 1.0), ("a cat", 0.0), ("a cat", 0.0)]
    assert [each.image.digest() for each in thumbs] == [IMAGES[i].digest() for i in (0, 2, 3)]
    assert RunFolder(run).finished == {"graded images": 3, "of grade 1": 1, "of grade 0": 2}


def test_scores_are_mapped_and_cut_to_the_range(scores: Path, tmp_path: Path) -> None:
    common = {"scores": scores, "column": "teacher:utility", "high": 6.0}
    assert [e.grade for e in load_graded(grade(GradeConfig(**common, out=tmp_path / "a")))] == [0.0, 0.0, 0.5, 1.0]
    thumbs = grade(GradeConfig(**common, threshold=0.5, out=tmp_path / "b"))
    assert [each.grade for each in load_graded(thumbs)] == [0.0, 0.0, 1.0, 1.0]
    turned = grade(GradeConfig(scores=scores, column="teacher:utility", low=6.0, high=0.0, out=tmp_path / "c"))
    assert [each.grade for each in load_graded(turned)] == [1.0, 1.0, 0.5, 0.0]


def test_the_auditor_grades_nothing_and_a_column_must_be_named(scores: Path, tmp_path: Path) -> None:
    for column, message in (
        ("auditor:utility", "the auditor judges results"),
        ("teacher:utilty", "did you mean 'teacher:utility'"),
        (None, "several scorers; give column one of teacher:utility, auditor:utility"),
    ):
        with pytest.raises(InputError, match=message):
            grade(GradeConfig(scores=scores, column=column, out=tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_a_folder_with_a_table_of_grades_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded(COLOURS[0]))
    (tmp_path / "metadata.csv").write_text("file_name,prompt,grade\na.png,a cat,0.25\n")
    (only,) = load_graded(tmp_path)
    assert (only.prompt, only.grade) == ("a cat", 0.25)


@pytest.mark.parametrize(
    "table, message",
    [
        ("file_name,prompt,grade\na.png,a cat,good\n", "the grade is 'good', not a finite number"),
        ("file_name,prompt,grade\na.png,a cat,2\n", r"the grade 2.0 is outside \[0, 1\]"),
        ("file_name,prompt,grade\nb.png,a cat,1\n", "b.png"),
        ("file_name,prompt,rank\na.png,a cat,1\n", "without grade; it has file_name, prompt, rank"),
        ("file_name,prompt,grade\n", "without file_name, prompt, grade; it has no rows"),
    ],
)
def test_bad_tables_are_refused_by_what_is_wrong(tmp_path: Path, table: str, message: str) -> None:
    (tmp_path / "a.png").write_bytes(encoded(COLOURS[0]))
    (tmp_path / "metadata.csv").write_text(table)
    with pytest.raises(InputError, match=message):
        load_graded(tmp_path)


def test_what_holds_no_grades_is_refused_with_the_fix(rankings: str, tmp_path: Path) -> None:
    for source in (rankings, tmp_path / "nowhere", tmp_path, "tiny-preferences"):
        with pytest.raises(InputError, match="`palate prefer grade` makes them from rankings or scores"):
            load_graded(source)


def test_rankings_without_an_order_give_no_thumbs(tmp_path: Path) -> None:
    write_sets([RankedSet("a dog", IMAGES[:2], (1, 1))], tmp_path / "ties.parquet")
    with pytest.raises(InputError, match="ranks no image above another"):
        grade(GradeConfig(preferences=str(tmp_path / "ties.parquet"), out=tmp_path / "run"))


def test_what_was_written_is_read_and_datasets_shows_images(tmp_path: Path) -> None:
    import datasets

    written = [GradedImage("a cat", IMAGES[0], 0.125), GradedImage("a dog", IMAGES[1], 1.0)]
    assert write_graded(written, tmp_path / "grades.parquet") == 2
    assert [*load_graded(tmp_path)] == written == [*load_graded(tmp_path / "grades.parquet")]
    assert [each.grade for each in load_graded(tmp_path)] == [0.125, 1.0]
    rows = datasets.load_dataset("parquet", data_files=str(tmp_path / "grades.parquet"), split="train")
    assert rows[0]["image"].size and rows.column_names == ["prompt", "image", "grade", "image_facts"]


def test_the_command_names_the_next_one(rankings: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prefer", "grade", "--preferences", rankings, "--out", str(tmp_path / "run")]) == 0
    assert "next: palate align kto --model MODEL" in capsys.readouterr().out
    assert main(["prefer", "grade", "--out", str(tmp_path / "other")]) == 2
    assert "give either preferences or scores" in capsys.readouterr().err
