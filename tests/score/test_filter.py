"""What scores high enough is kept, as an ImageFolder with its scores; whole or absent, and never by the auditor."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import datasets
import pytest
from pictures import encoded, image_folder

from palate.cli.main import main
from palate.core.errors import InputError, RunFolderError
from palate.core.runs import RunFolder
from palate.records.image_folder import read_image_folder
from palate.records.jsonlines import JsonLines
from palate.score.filter import FilterConfig, filter_images

VALUES = (5.0, 1.0, 3.0, 4.0)


def scored(
    folder: Path, images: Path, columns: Mapping[str, Sequence[float | None]], lower: Sequence[str] = ()
) -> Path:
    """A finished run of `palate score`, as it lies on disk."""
    records = read_image_folder(images)
    values = [{column: columns[column][i] for column in columns} for i in range(len(records))]
    rows = [{"file_name": each.file_name, "prompt": each.prompt, **of} for each, of in zip(records, values)]
    folder.mkdir()
    (folder / "config.yaml").write_text(f"stage: score\npalate: '0'\nimages: {images}\n")
    JsonLines(folder / "scores.jsonl").replace(rows)
    common = {"mean": 0.0, "spread": 0.0, "lowest": 0.0, "highest": 0.0, "images": len(rows)}
    summaries = {column: {"higher_is_better": column not in lower, **common} for column in columns}
    (folder / "summary.json").write_text(json.dumps({"images": len(rows), "scores": summaries}))
    return folder


def table(folder: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """An ImageFolder of other making: images 0.png, 1.png and so on, and these rows about them."""
    folder.mkdir()
    for number in range(len(rows)):
        (folder / f"{number}.png").write_bytes(encoded())
    lines = (json.dumps({"file_name": f"{i}.png", **row}) + "\n" for i, row in enumerate(rows))
    (folder / "metadata.jsonl").write_text("".join(lines))
    return folder


def kept(run: Path) -> list[str]:
    return [row["file_name"] for row in JsonLines(run / "metadata.jsonl").read()]


@pytest.fixture
def images(tmp_path: Path) -> Path:
    return image_folder(tmp_path / "images", ["a red star", "a cat", "a cat", "a dog"], (8, 8))


@pytest.fixture
def scores(images: Path, tmp_path: Path) -> Path:
    return scored(tmp_path / "scores", images, {"teacher:utility": VALUES})


def test_images_with_high_scores_are_linked_with_all_their_metadata(images: Path, scores: Path, tmp_path: Path) -> None:
    run = filter_images(FilterConfig(scores=scores, at_least=4.0, out=tmp_path / "run"))
    common = {"model": "some-model", "image_index": 0}
    assert JsonLines(run / "metadata.jsonl").read() == [
        {"file_name": "images/0.png", "prompt": "a red star", "seed": 0, "prompt_index": 0}
        | common
        | {"teacher:utility": 5.0},
        {"file_name": "images/3.png", "prompt": "a dog", "seed": 3, "prompt_index": 2}
        | common
        | {"teacher:utility": 4.0},
    ]
    assert sorted(path.name for path in (run / "images").iterdir()) == ["0.png", "3.png"]
    assert (run / "images/3.png").samefile(images / "images/3.png")
    assert [(record.prompt, record.seed) for record in read_image_folder(run)] == [("a red star", 0), ("a dog", 3)]
    counts = {"column": "teacher:utility", "images": 4, "kept": 2, "lowest": 4.0, "highest": 5.0}
    assert RunFolder(run).finished == counts


def test_the_run_folder_opens_as_an_image_folder(scores: Path, tmp_path: Path) -> None:
    run = filter_images(FilterConfig(scores=scores, at_least=3.0, out=tmp_path / "run"))
    cache = str(tmp_path / "cache")
    opened: Any = datasets.load_dataset("imagefolder", data_dir=str(run), cache_dir=cache, split="train")
    assert sorted(opened["teacher:utility"]) == [3.0, 4.0, 5.0]


@pytest.mark.parametrize(
    "conditions, expected",
    [
        ({"at_least": 3.0}, "0 2 3"),
        ({"at_most": 3.0}, "1 2"),
        ({"at_least": 3.0, "at_most": 4.0}, "2 3"),
        ({"top": 0.25}, "0"),
        ({"top": 0.5}, "0 3"),
        ({"top": 1.0}, "0 1 2 3"),
        ({"top": 0.01}, "0"),
        ({"top": 0.5, "at_most": 4.0}, "3"),
    ],
)
def test_an_image_must_pass_every_given_condition(
    scores: Path, tmp_path: Path, conditions: dict[str, float], expected: str
) -> None:
    run = filter_images(FilterConfig(scores=scores, out=tmp_path / "run", **conditions))
    assert sorted(kept(run)) == [f"images/{number}.png" for number in expected.split()]


def test_the_best_are_the_lowest_where_lower_is_better(images: Path, tmp_path: Path) -> None:
    scores = scored(tmp_path / "scores", images, {"teacher:unsafe": VALUES}, lower=["teacher:unsafe"])
    assert kept(filter_images(FilterConfig(scores=scores, top=0.5, out=tmp_path / "a"))) == [
        "images/1.png",
        "images/2.png",
    ]
    bounds = filter_images(FilterConfig(scores=scores, at_least=4.0, out=tmp_path / "b"))
    assert kept(bounds) == ["images/0.png", "images/3.png"]


def test_a_share_of_equal_scores_is_exact_and_not_the_first_of_the_folder(tmp_path: Path) -> None:
    images = table(tmp_path / "images", [{"prompt": f"{i}", "faithful": 1} for i in range(40)])
    runs = [filter_images(FilterConfig(images=images, top=0.25, out=tmp_path / name)) for name in ("a", "b")]
    assert len(kept(runs[0])) == 10
    assert kept(runs[0]) == kept(runs[1]) != [f"{i}.png" for i in range(10)]


def test_shards_become_one_folder(tmp_path: Path) -> None:
    for shard in (0, 1):
        image_folder(tmp_path / f"images/shard-{shard}-of-2", [f"prompt {shard}"], (8, 8))
    scores = scored(tmp_path / "scores", tmp_path / "images", {"teacher:utility": (1.0, 2.0)})
    run = filter_images(FilterConfig(scores=scores, at_least=0.0, out=tmp_path / "run"))
    assert sorted(record.file_name for record in read_image_folder(run)) == [
        "shard-0-of-2/images/0.png",
        "shard-1-of-2/images/0.png",
    ]


def test_a_user_s_table_may_have_scores_without_prompts(tmp_path: Path) -> None:
    rows = [{"text": "a cat", "width": 8, "aesthetic_score_laion_v2": score} for score in (6.6, 5, 7.25)]
    images = table(tmp_path / "coyo", rows)
    config = FilterConfig(images=images, column="aesthetic_score_laion_v2", at_least=6.5, out=tmp_path / "run")
    written = JsonLines(filter_images(config) / "metadata.jsonl").read()
    assert [row["file_name"] for row in written] == ["0.png", "2.png"]
    assert written[0] == {"file_name": "0.png", **rows[0], "prompt": "a cat"}


def test_the_only_column_of_numbers_need_not_be_named(images: Path, tmp_path: Path) -> None:
    rows = [row | {"aesthetic": row["seed"]} for row in JsonLines(images / "metadata.jsonl").read()]
    JsonLines(images / "metadata.jsonl").replace(rows)
    run = filter_images(FilterConfig(images=images, at_least=3, out=tmp_path / "run"))  # not the seeds and indices
    assert kept(run) == ["images/3.png"]
    by_seed = filter_images(FilterConfig(images=images, column="seed", at_most=0, out=tmp_path / "by seed"))
    assert kept(by_seed) == ["images/0.png"]


def test_a_killed_run_has_no_table_and_resumes_to_the_same_result(
    scores: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    undisturbed = filter_images(FilterConfig(scores=scores, at_least=3.0, out=tmp_path / "undisturbed"))
    killed, link, links = FilterConfig(scores=scores, at_least=3.0, out=tmp_path / "killed"), os.link, []

    def link_two(source: Path, target: Path) -> None:
        if len(links) == 2:
            raise KeyboardInterrupt
        links.append(target)
        link(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "link", link_two)
        with pytest.raises(KeyboardInterrupt):
            filter_images(killed)
    assert not (killed.out / "metadata.jsonl").exists()
    for _ in range(2):  # it goes on, and a finished run stays as it is
        run = filter_images(killed)
        for name in ("metadata.jsonl", "summary.json"):
            assert (run / name).read_bytes() == (undisturbed / name).read_bytes()
        assert sorted(path.name for path in (run / "images").iterdir()) == ["0.png", "2.png", "3.png"]


def test_a_run_of_scores_that_changed_since_is_refused(images: Path, scores: Path, tmp_path: Path) -> None:
    config = FilterConfig(scores=scores, at_least=3.0, out=tmp_path / "run")
    filter_images(config)
    rows = JsonLines(scores / "scores.jsonl").read()
    JsonLines(scores / "scores.jsonl").replace(row | {"teacher:utility": 9.0} for row in rows)
    with pytest.raises(RunFolderError, match=r"inputs\.images and scores"):
        filter_images(config)


def test_images_are_copied_if_they_cannot_be_linked(
    images: Path, scores: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def other_disk(source: Path, target: Path) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", other_disk)
    run = filter_images(FilterConfig(scores=scores, at_least=5.0, out=tmp_path / "run"))
    assert (run / "images/0.png").read_bytes() == (images / "images/0.png").read_bytes()
    assert not (run / "images/0.png").samefile(images / "images/0.png")


@pytest.mark.parametrize(
    "given, complaint",
    [
        ({"top": 0.5}, "give either scores or images"),
        ({"scores": Path("a"), "images": Path("b"), "top": 0.5}, "give either scores or images"),
        ({"scores": Path("a")}, "give at_least, at_most or top"),
        ({"scores": Path("a"), "top": 0.0}, "top must be a share above 0 and up to 1, not 0.0"),
        ({"scores": Path("a"), "top": 1.5}, "top must be a share above 0 and up to 1, not 1.5"),
        ({"scores": Path("a"), "at_least": 2.0, "at_most": 1.0}, "at_least must not be above at_most, and 2.0 is"),
    ],
)
def test_an_impossible_configuration_is_refused(given: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        FilterConfig(out=Path("run"), **given)


@pytest.mark.parametrize(
    "column, complaint",
    [
        (None, "scores has several scorers; give column one of teacher:utility, auditor:utility"),
        (
            "teacher:utilty",
            "no 'teacher:utilty' among its scorers; did you mean 'teacher:utility'.; give column one of",
        ),
        ("auditor:utility", "the auditor judges results and gives no training signal"),
    ],
)
def test_a_column_that_cannot_filter_is_refused(
    images: Path, tmp_path: Path, column: str | None, complaint: str
) -> None:
    scores = scored(tmp_path / "scores", images, {"teacher:utility": VALUES, "auditor:utility": VALUES})
    with pytest.raises(InputError, match=complaint):
        filter_images(FilterConfig(scores=scores, column=column, at_least=0.0, out=tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_a_table_without_a_column_that_can_filter_says_so(images: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="images has no columns of numbers; score the images with `palate score`"):
        filter_images(FilterConfig(images=images, top=0.5, out=tmp_path / "run"))
    several = table(tmp_path / "several", [{"prompt": "a", "width": 8, "auditor:appeal": 0.5}])
    with pytest.raises(InputError, match="several columns of numbers; give column one of width, auditor:appeal"):
        filter_images(FilterConfig(images=several, top=0.5, out=tmp_path / "run"))
    with pytest.raises(InputError, match="the auditor judges results"):
        filter_images(FilterConfig(images=several, column="auditor:appeal", top=0.5, out=tmp_path / "run"))


@pytest.mark.parametrize("value", [None, "high", True, float("nan")])
def test_an_image_without_a_score_is_refused_by_name_or_counted(tmp_path: Path, value: Any) -> None:
    images = table(tmp_path / "images", [{"prompt": "a", "score": 1.5}, {"prompt": "b", "score": value}])
    with pytest.raises(InputError, match=r"images/1\.png: its 'score' is .*, not a number.*--skip-bad"):
        filter_images(FilterConfig(images=images, at_least=0.0, out=tmp_path / "run"))
    run = filter_images(FilterConfig(images=images, at_least=0.0, out=tmp_path / "run", skip_bad=True))
    assert kept(run) == ["0.png"]
    assert (RunFolder(run).finished or {})["bad rows"] == 1


def test_an_image_added_after_scoring_is_named(images: Path, scores: Path, tmp_path: Path) -> None:
    (images / "images/4.png").write_bytes(encoded())
    JsonLines(images / "metadata.jsonl").append([{"file_name": "images/4.png", "prompt": "a cow"}])
    with pytest.raises(
        InputError, match=r"4\.png: its 'teacher:utility' is None in .*, not a number; score the folder again"
    ):
        filter_images(FilterConfig(scores=scores, at_least=0.0, out=tmp_path / "run"))


def test_if_no_image_is_kept_the_range_is_reported_and_nothing_is_written(scores: Path, tmp_path: Path) -> None:
    complaint = "none of the 4 images is kept: teacher:utility ranges from 1 to 5; give other bounds"
    with pytest.raises(InputError, match=complaint):
        filter_images(FilterConfig(scores=scores, at_least=6.5, out=tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_a_broken_image_no_run_and_a_run_among_the_images_are_refused(
    images: Path, scores: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="is in .*images and would be read as a part of it; name one outside"):
        filter_images(FilterConfig(scores=scores, at_least=0.0, out=images / "best"))
    with pytest.raises(InputError, match="not a finished run of `palate score`"):
        filter_images(FilterConfig(scores=images, at_least=0.0, out=tmp_path / "run"))
    (images / "images/1.png").write_bytes(b"")
    with pytest.raises(InputError, match=r"1\.png is empty.*--skip-bad"):
        filter_images(FilterConfig(scores=scores, at_least=0.0, out=tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_the_command_prints_the_counts_and_what_comes_next(
    scores: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "run")
    assert main(["filter", "--scores", str(scores), "--at-least", "3", "--out", out]) == 0
    count, ends, following = capsys.readouterr().out.splitlines()
    assert count == f"3 of 4 images are kept in {out}"
    assert ends == "their teacher:utility goes from 3.000 to 5.000"
    assert following == f"next: palate caption --images {out} --captioner MODEL --out {out}-captions"
    assert main(["filter", "--scores", str(scores), "--out", out]) == 2
    assert "give at_least, at_most or top; without a condition every image would be kept" in capsys.readouterr().err
