"""Exports of annotation suites: Label Studio's tasks and Argilla's records, with images of one's own machine."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Dataset
from pictures import encoded

from palate.core.errors import InputError
from palate.core.runs import RunFolder
from palate.prefer.importing import ImportConfig, import_preferences
from palate.prefer.load import detect, load_preferences
from palate.prefer.readers import argilla, labelstudio
from palate.records.tally import Tally

PAIR = {"prompt": "a cat", "image1": "images/a.png", "image2": "images/b.png"}
THREE = {"prompt": "a cat", "images": [{"id": key, "html": f"<img src='images/{key}.png'/>"} for key in "abc"]}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With pictures a, b and c."""
    (tmp_path / "images").mkdir()
    for name, colour in (("a", "red"), ("b", "green"), ("c", "blue")):
        (tmp_path / "images" / f"{name}.png").write_bytes(encoded(colour))
    return tmp_path


def result(kind: str, value: Any, name: str = "pref") -> dict[str, Any]:
    said = {"selected" if kind == "pairwise" else kind: value}
    return {"id": "x", "type": kind, "from_name": name, "to_name": "image1", "value": said}


def annotation(*results: dict[str, Any], by: Any = 1, **more: Any) -> dict[str, Any]:
    return {"id": 1, "completed_by": by, "result": list(results), "was_cancelled": False, "lead_time": 2.5, **more}


def task(data: Any, *annotations: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"id": 5, "data": data, "annotations": list(annotations), "predictions": [], **more}


def write(folder: Path, rows: Any) -> Path:
    (folder / "export.json").write_text(json.dumps(rows))
    return folder / "export.json"


def one(kind: str, value: Any, data: Any = None) -> dict[str, Any]:
    return task(data or PAIR, annotation(result(kind, value)))


def ranks(file: Path) -> list[Any]:
    return [each.ranks for each in load_preferences(file)]


def uri(colour: str) -> str:
    return f"data:image/png;base64,{base64.b64encode(encoded(colour)).decode()}"


@pytest.mark.parametrize(
    "data, kind, value, expected",
    [
        (PAIR, "pairwise", "left", (1, 2)),
        (PAIR, "pairwise", "right", (2, 1)),
        (PAIR, "choices", ["image2"], (2, 1)),
        (PAIR, "choices", ["Left"], (1, 2)),
        (PAIR, "choices", ["Tie"], (1, 1)),
        (PAIR, "choices", ["both bad"], (1, 1)),
        ({"prompt": "p", "right_img": "images/a.png", "left_img": "images/b.png"}, "pairwise", "left", (2, 1)),
        ({"Caption": "p", "pic 10": "images/b.png", "pic 9": "images/a.png"}, "pairwise", "right", (1, 2)),
        (THREE, "ranker", ["c", "a", "b"], (2, 3, 1)),
        (THREE, "ranker", {"pref": ["b", "a", "c"]}, (2, 1, 3)),
        (THREE, "ranker", {"rank 1": ["c"], "rank 2": ["a", "b"], "rank 3": [], "_": []}, (2, 2, 1)),
        (THREE, "choices", ["b"], (2, 1, 2)),
        (THREE, "choices", ["b", "c"], (2, 1, 1)),
    ],
)
def test_an_annotation_ranks_the_images_of_its_task(
    folder: Path, data: Any, kind: str, value: Any, expected: tuple[int, ...]
) -> None:
    file = write(folder, [one(kind, value, data)])
    assert detect(file) == detect(folder) == "label-studio"
    assert ranks(file) == ranks(folder) == [expected]


def test_annotations_are_votes_and_what_does_not_count_is_counted(folder: Path) -> None:
    left, right = (result("pairwise", side) for side in ("left", "right"))
    given = [
        annotation(left, result("choices", ["right"], "appeal"), by={"id": 3, "email": "ann@example.org"}),
        annotation(left, by={"id": 4, "first_name": "Bob", "last_name": "Lee"}),
        annotation(right, by=7),
        annotation(right, was_cancelled=True),
        annotation(result("textarea", ["nice"], "notes")),
    ]
    rows = [task(PAIR, *given, drafts=[{}, {}], predictions=[{"result": [right]}]), task(PAIR)]
    run = import_preferences(ImportConfig(source=str(write(folder, rows)), out=folder / "run"))
    (only,) = load_preferences(run)
    assert (only.ranks, only.prompt) == ((1, 2), "a cat")
    assert [each.rater for each in only.votes] == ["ann@example.org", "Bob Lee", "user 7"]
    counted = dict(list((RunFolder(run).finished or {}).items())[5:])
    assert counted == {
        "cancelled annotations": 1,
        "drafts": 2,
        "predictions of models": 1,
        "answers to other questions": 1,
        "annotations without an answer": 1,
        "tasks without an answer": 1,
    }


def test_ratings_of_single_images_rank_those_of_a_prompt(folder: Path) -> None:
    def rated(name: str, *stars: int, prompt: str = "a cat") -> dict[str, Any]:
        given = (annotation(result("rating", each), by=rater) for rater, each in enumerate(stars))
        return task({"prompt": prompt, "image": f"images/{name}.png"}, *given, meta={"systems": [f"of {name}"]})

    rows = [rated("a", 5, 2), rated("b", 4, 4), rated("c", 1, prompt="a dog")]
    (only,) = load_preferences(write(folder, rows))
    assert (only.ranks, only.scores["stars"], only.systems) == ((2, 1), (3.5, 4.0), ("of a", "of b"))
    assert [each.ranks for each in only.votes] == [(1, 2), (2, 1)]


@pytest.mark.parametrize(
    "reference",
    [
        "{folder}/images/a.png",
        "images/../images/a.png",
        "/data/local-files/?d=images%2Fa.png",
        "/data/upload/3/a.png",
        "![shown](images/a.png)",
        uri("red"),
    ],
)
def test_images_are_found_below_the_export_or_in_it(folder: Path, reference: str) -> None:
    (folder / "upload" / "3").mkdir(parents=True)
    (folder / "upload" / "3" / "a.png").write_bytes(encoded("red"))
    file = write(folder, [one("pairwise", "left", PAIR | {"image1": reference.replace("{folder}", str(folder))})])
    assert load_preferences(file)[0].images[0].open().getpixel((0, 0)) == (255, 0, 0)


@pytest.mark.parametrize(
    "wrong, complaint",
    [
        (one("pairwise", "left", PAIR | {"image1": "https://example.org/a.png"}), "this machine; download it"),
        (one("pairwise", "left", PAIR | {"image1": "s3://bucket/a.png"}), "is not on this machine"),
        (one("pairwise", "left", PAIR | {"image1": "../outside.png"}), "is outside of"),
        (one("pairwise", "left", PAIR | {"image1": "/etc/a.png"}), "is outside of"),
        (one("pairwise", "left", PAIR | {"image1": "link.png"}), "is outside of"),
        (one("pairwise", "left", PAIR | {"image1": "images/z.png"}), "z.png does not exist"),
        (one("pairwise", "left", PAIR | {"image1": f"{'z' * 400}.png"}), "is not a valid file name"),
        (one("pairwise", "left", PAIR | {"image1": "data:image/png;base64,*"}), "the data: URL of image1 of task 5"),
        (one("pairwise", "left", PAIR | {"image1": "data:image/png;base64,"}), "is empty"),
        (one("pairwise", "left", {"image1": "images/a.png", "image2": "images/b.png"}), "no prompt or caption or text"),
        (one("pairwise", "left", {"prompt": "p", "ours": "images/a.png", "cat": "images/b.png"}), "names ours, cat do"),
        (one("pairwise", "left", {"prompt": "p", "words": "a"}), "no image among prompt, words"),
        (one("choices", ["image3"]), r"\['image3'\]} does not say which of image1, image2"),
        (task(PAIR, annotation(result("pairwise", "left"), result("pairwise", "right"))), "does not say which"),
        (one("ranker", ["a", "b"], THREE), "must have each of a, b, c once"),
        (one("ranker", {"good": ["a"], "bad": ["b", "c"]}, THREE), "the buckets good, bad have no order"),
        (one("ranker", {"rank 1": ["a"], "_": ["b", "c"]}, THREE), "the buckets rank 1, _ have no order"),
        ({"id": 5, "data": None, "annotations": []}, "it is not a task"),
        ("nothing", "it is not a task"),
    ],
)
def test_a_bad_task_is_refused_by_name_or_skipped(folder: Path, wrong: Any, complaint: str) -> None:
    (folder.parent / "outside.png").write_bytes(encoded())
    (folder / "link.png").symlink_to(folder.parent / "outside.png")
    file = write(folder, [one("pairwise", "left"), one("pairwise", "left"), wrong])
    with pytest.raises(InputError, match=rf"task (5|2) of .*export\.json.*{complaint}"):
        load_preferences(file)
    tally = Tally(skip_bad=True)
    assert (len(list(labelstudio.read(file, tally))), len(tally.bad)) == (2, 1)


@pytest.mark.parametrize("shape", [{"annotations": 5}, {"annotations": [5]}, {"annotations": [{"result": "x"}]}])
def test_annotations_of_another_shape_are_no_answers(folder: Path, shape: dict[str, Any]) -> None:
    file = write(folder, [one("pairwise", "left"), {"id": 6, "data": PAIR, "meta": [], **shape}])
    assert len(load_preferences(file)) == 1


@pytest.mark.parametrize(
    "rows, complaint",
    [
        ([{"image1": "a.png", "pref": "left", "annotation_id": 3, "annotator": 1}], "JSON-MIN"),
        ([task(PAIR, annotation(result("textarea", ["x"])))], "no annotation of .* ranks images"),
        ([], "none of the formats"),
    ],
)
def test_an_export_without_rankings_says_so(folder: Path, rows: Any, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        load_preferences(write(folder, rows))


FIELDS = {"prompt": "a cat", "image-1": "images/a.png", "image-2": "images/b.png"}


def nested(*answers: dict[str, Any], fields: Any = FIELDS, **more: Any) -> dict[str, Any]:
    """A record as version 2 writes it to disk."""
    return {"id": "r1", "fields": fields, "metadata": {}, "suggestions": {}, "responses": {"pref": [*answers], **more}}


def said(value: Any, user: str = "u1", **more: Any) -> dict[str, Any]:
    return {"value": value, "user_id": user, **more}


def flat(values: list[Any], statuses: list[str], **fields: Any) -> dict[str, Any]:
    """A record as version 2 makes a row of `datasets` of it."""
    users = [f"u{number}" for number in range(len(values))]
    named = {"pref.responses": values, "pref.responses.users": users, "pref.responses.status": statuses}
    return {"id": "r1", "status": "completed", **FIELDS, **fields, **named, "pref.suggestion": "image_2"}


TIE = [{"value": "image_1", "rank": 1}, {"value": "image_2", "rank": 1}]
TOLD = {"user_id": ["u"], "value": [{"value": ["image_2", "image_1"], "rank": [1, 2]}], "status": ["submitted"]}
SERVED = {"fields": FIELDS, "responses": [{"user_id": 1, "status": "submitted", "values": {"p": said(TIE)}}]}


@pytest.mark.parametrize(
    "row, expected",
    [
        (nested(said(["image_2", "image_1"])), (2, 1)),
        (nested(said("image_1")), (1, 2)),
        (nested(said("tie")), (1, 1)),
        (nested(said("right")), (2, 1)),
        (SERVED, (1, 1)),
        (flat([["image_2", "image_1"]], ["submitted"]), (2, 1)),
        ({**FIELDS, "pref": [said(TIE, status="submitted")]}, (1, 1)),
        ({**FIELDS, "pref": TOLD}, (2, 1)),
    ],
)
def test_a_response_ranks_the_image_fields(folder: Path, row: dict[str, Any], expected: tuple[int, ...]) -> None:
    (folder / "records.jsonl").write_text(json.dumps(row) + "\n")
    (folder / "records.json").write_text(json.dumps([row]))
    assert detect(folder) == detect(folder / "records.json") == detect(folder / "records.jsonl") == "argilla"
    assert ranks(folder) == ranks(folder / "records.json") == ranks(folder / "records.jsonl") == [expected]


@pytest.mark.parametrize("kind", ["disk", "parquet"])
def test_a_folder_of_datasets_is_read_with_its_pictures(tmp_path: Path, kind: str) -> None:
    pictures = {f"image-{n}": {"bytes": encoded(colour), "path": None} for n, colour in ((1, "red"), (2, "blue"))}
    rows = [flat(["image_2", "image_1"], ["submitted", "draft"], **pictures)]
    if kind == "disk":
        Dataset.from_list(rows).save_to_disk(str(tmp_path / "set"))
    else:
        (tmp_path / "set" / "data").mkdir(parents=True)
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / "set" / "data" / "train-00000-of-00001.parquet")
    assert detect(tmp_path / "set") == "argilla"
    (only,) = load_preferences(tmp_path / "set")
    assert (only.ranks, [each.rater for each in only.votes]) == ((2, 1), ["u0"])
    assert only.images[1].open().getpixel((0, 0)) == (0, 0, 255)


def test_only_submitted_responses_to_one_question_are_votes(folder: Path) -> None:
    answers = [said("image_1", status="submitted"), said("image_2", "u2", status="discarded"), said("image_1", "u3")]
    rows = [nested(*answers, other=[said("image_2", status="submitted")]), nested(said("image_2", status="draft"))]
    tally = Tally()
    (only,) = argilla.read(write(folder, rows), tally)
    assert (only.ranks, [each.rater for each in only.votes]) == ((1, 2), ["u1", "u3"])
    assert tally.summary() == {
        "discarded responses": 1,
        "responses without a status, taken as submitted": 1,
        "answers to other questions": 1,
        "draft responses": 1,
        "records without a submitted answer": 1,
    }


@pytest.mark.parametrize(
    "wrong, complaint",
    [
        (nested(said("image_9")), "the answer image_9 names none of the images image-1, image-2"),
        (nested(said(["image_1"])), "must have each of image-1, image-2 once"),
        (nested(said("image_1"), fields={"prompt": "p", "image-1": "images/a.png"}), "fewer than two images among"),
        (nested(said("image_1"), fields=FIELDS | {"image-1": "https://a.org/a.png"}), "is not on this machine"),
        (nested(said("image_1"), fields=FIELDS | {"prompt": " "}), "the prompt is blank"),
        (5, "it is not a record"),
    ],
)
def test_a_bad_record_is_refused_by_name_or_skipped(folder: Path, wrong: Any, complaint: str) -> None:
    file = write(folder, [nested(said("image_1")), nested(said("image_1")), wrong])
    with pytest.raises(InputError, match=rf"record (r1|2) of .*export\.json.*{complaint}"):
        load_preferences(file)
    tally = Tally(skip_bad=True)
    assert (len(list(argilla.read(file, tally))), len(tally.bad)) == (2, 1)


def test_records_without_an_answer_about_images_and_damaged_ones_say_so(folder: Path) -> None:
    with pytest.raises(InputError, match="no response of .* ranks images"):
        load_preferences(write(folder, [nested(said(5))]))
    with pytest.raises(InputError, match="has no records of Argilla"):
        import_preferences(ImportConfig(source=str(folder / "images"), out=folder / "run", format="argilla"))
    (folder / "data.arrow").write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"data\.arrow cannot be read"):
        load_preferences(folder / "data.arrow")
