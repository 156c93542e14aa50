"""Small bad preferences, each the least of its kind: what is refused, by which words, and what is read after all."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pictures import encoded
from prefer.test_pickapic import SCHEMA, row

from palate.core.errors import InputError
from palate.core.runs import RunFolder
from palate.prefer.from_scores import FromScoresConfig, prefer_from_scores
from palate.prefer.importing import ImportConfig, import_preferences
from palate.prefer.load import detect, load_preferences
from palate.records.ranked import RankedSet
from palate.score.stage import ScoreConfig, score

COLOURS = {"a": "red", "b": "green", "c": "blue"}
SURROGATE = "\\ud83d"  # as JSON writes half of a character


def pictures(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, colour in COLOURS.items():
        (folder / f"{name}.png").write_bytes(encoded(colour))


def pairs(table: str, name: str = "metadata.csv") -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        pictures(folder)
        (folder / name).write_text(table)
        return folder

    return make


def jsonl(prompt: str) -> Callable[[Path], Path]:
    return pairs(f'{{"prompt": {prompt}, "preferred": "a.png", "rejected": "b.png"}}\n', "metadata.jsonl")


def hpdv2(**fields: Any) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        pictures(folder / "test")
        (folder / "test.json").write_text(json.dumps([{"prompt": "p", **fields}]))
        return folder

    return make


def label_studio(prompt: str = '"a cat"', second: str = "b.png") -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        pictures(folder)
        result = {"id": "x", "from_name": "pw", "to_name": "i", "type": "pairwise", "value": {"selected": "left"}}
        data = {"prompt": 0, "image1": "a.png", "image2": second}
        task = {"id": 1, "data": data, "annotations": [{"id": 1, "completed_by": 1, "result": [result]}]}
        (folder / "export.json").write_text(json.dumps([task]).replace('"prompt": 0', f'"prompt": {prompt}'))
        return folder

    return make


THREE = ["a.png", "b.png", "c.png"]
BAD = {
    "comma": (
        pairs("preferred,rejected,prompt\na.png,b.png,a cat, sitting on a mat\n"),
        "line 2 of .*: 4 fields where the header has 3, the last ' sitting on a mat'",
    ),
    "comma_rank": (
        pairs("file_name,rank,prompt\na.png,1,a cat, on a mat\nb.png,2,a cat, on a mat\nc.png,1,a cat, in a tree\n"),
        "line 2 of .*: 4 fields where the header has 3",
    ),
    "openquote": (
        pairs('preferred,rejected,prompt\na.png,b.png,"a cat\nb.png,c.png,a dog\nc.png,a.png,a cow\n'),
        "the quote that opens on line 2 of .*metadata.csv has no closing quote",
    ),
    "nan_prompt": (jsonl("NaN"), "line 1 of .*: the prompt is NaN, not text"),
    "list_prompt": (jsonl('["a cat"]'), r"line 1 of .*: the prompt is \['a cat'\], not text"),
    "number_prompt": (jsonl("7"), "line 1 of .*: the prompt is 7, not text"),
    "pairs/surrogate": (jsonl(f'"a cat {SURROGATE}"'), r"line 1 of .*: the prompt .* has a lone surrogate, \\ud83d"),
    "labelstudio/surrogate": (label_studio(f'"cat {SURROGATE}"'), "task 1 of .*: the prompt .* has a lone surrogate"),
    "dup_image": (
        pairs("file_name,prompt,rank\na.png,a cat,1\na.png,a cat,2\n"),
        "line 2 of .*: the image 'a.png' occurs twice",
    ),
    "labelstudio/both_images_same": (
        label_studio(second="a.png"),
        "task 1 of .*: images 1 and 2 are the same image .*, but have the ranks 1 and 2",
    ),
    "dup_paths": (
        hpdv2(image_path=["a.png", "a.png", "b.png"], rank=[1, 2, 3]),
        "row 0 of .*: images 1 and 2 are the same image",
    ),
    "raw_item_null": (
        hpdv2(image_path=THREE, rank=[1, 2, 3], raw_annotations=[None]),
        "row 0 of .*: the annotation None is not an object with a rank",
    ),
    "raw_ranks_null": (hpdv2(images=THREE, raw_ranks=None), "row 0 of .*: no list of rankings but None"),
    "big_rank": (
        hpdv2(images=THREE, raw_ranks=[[1, 2, 99999999999]]),
        "row 0 of .*: a rank is 99999999999, and must be from",
    ),
    "systems_text": (
        hpdv2(image_path=THREE, rank=[1, 2, 3], system="abc"),
        "row 0 of .*: the system is 'abc', not a list",
    ),
    "outside": (
        pairs("prompt,preferred,rejected\np,../a.png,b.png\n"),
        "line 2 of .*: the preferred image is '../a.png', which is outside of",
    ),
    "folder": (pairs("prompt,preferred,rejected\np,x.png,b.png\n"), "line 2 of .*: the image .*x.png is a folder"),
    "two_tables": (
        lambda folder: pairs("prompt,preferred,rejected\np,a.png,b.png\n")(jsonl('"p"')(folder)),
        "has both metadata.jsonl and metadata.csv; keep one of them there",
    ),
}
WHOLE = {"openquote", "two_tables"}
"""Those in which no row can be told from the others, so that none can be left out."""


@pytest.mark.parametrize("make, complaint", BAD.values(), ids=BAD)
def test_a_bad_input_is_refused_by_its_row(tmp_path: Path, make: Callable[[Path], Path], complaint: str) -> None:
    (tmp_path / "data" / "x.png").mkdir(parents=True)
    (tmp_path / "a.png").write_bytes(encoded())
    with pytest.raises(InputError, match=complaint):
        load_preferences(make(tmp_path / "data"))


@pytest.mark.parametrize("name", [name for name in BAD if name not in WHOLE])
def test_a_bad_row_is_left_out_and_named_where_that_is_asked(tmp_path: Path, name: str) -> None:
    folder = BAD[name][0](tmp_path / "data")
    (folder / "x.png").mkdir()
    _add_a_good_row(folder)
    run = import_preferences(ImportConfig(source=str(folder), out=tmp_path / "run", skip_bad=True))
    counted = RunFolder(run).finished or {}
    assert counted["ranked sets"] == 1
    assert counted["bad rows"] == len((run / "bad_rows.txt").read_text().splitlines()) > 0


def _add_a_good_row(folder: Path) -> None:
    for name in ("metadata.csv", "metadata.jsonl", "test.json", "export.json"):
        if (file := folder / name).is_file():
            text = file.read_text()
            good = {"prompt": "good", "preferred": "b.png", "rejected": "c.png"}
            if name == "metadata.jsonl":
                file.write_text(text + json.dumps(good) + "\n")
            elif name == "metadata.csv" and "rank" in text:
                file.write_text(text + "b.png,good,1\nc.png,good,2\n" if "prompt,rank" in text else text + RANKED)
            elif name == "metadata.csv":
                header = text.partition("\n")[0].split(",")
                file.write_text(text + ",".join(good[column] for column in header) + "\n")
            elif name == "test.json":
                row = {"prompt": "good", "image_path": THREE, "rank": [0, 1, 2]}
                file.write_text(json.dumps([*json.loads(text), row]))
            else:
                (task,) = json.loads(text)
                data = {"prompt": "good", "image1": "a.png", "image2": "c.png"}
                file.write_text(json.dumps([task, task | {"id": 2, "data": data}]))


RANKED = "b.png,1,good\nc.png,2,good\n"


def ranks(sets: Sequence[RankedSet]) -> list[Any]:
    return [(each.prompt, each.ranks) for each in sets]


def test_a_tie_column_makes_a_tie_that_is_a_vote(tmp_path: Path) -> None:
    folder = pairs("prompt,preferred,rejected,tie\na cat,a.png,b.png,1\na dog,b.png,a.png,\n")(tmp_path)
    assert ranks(load_preferences(folder)) == [("a cat", (1, 1)), ("a dog", (2, 1))]
    folder = pairs("prompt,preferred,rejected,tie\na cat,a.png,b.png,perhaps\n")(tmp_path)
    with pytest.raises(InputError, match="line 2 of .*: the tie is 'perhaps', neither yes nor no"):
        load_preferences(folder)


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_ranks_may_be_written_as_floating_point(tmp_path: Path, kind: str) -> None:
    """As pandas does where a rank is missing elsewhere."""
    pictures(tmp_path)
    rows = [{"file_name": f"{name}.png", "prompt": "a cat", "rank": rank} for name, rank in (("a", 1.0), ("b", 2.0))]
    if kind == "csv":
        (tmp_path / "metadata.csv").write_text("file_name,prompt,rank\na.png,a cat,1.0\nb.png,a cat,2.0\n")
    elif kind == "jsonl":
        (tmp_path / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    else:
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / "metadata.parquet")
    assert ranks(load_preferences(tmp_path)) == [("a cat", (1, 2))]


def test_systems_may_be_numbers(tmp_path: Path) -> None:
    folder = hpdv2(image_path=THREE, rank=[1, 2, 3], system=[1, 2, 3])(tmp_path)
    assert load_preferences(folder)[0].systems == ("1", "2", "3")


def test_the_file_of_imagereward_is_read_with_its_images_in_the_split_s_folder_or_beside_it(tmp_path: Path) -> None:
    folder = hpdv2(generations=THREE, ranking=[1, 5, 3])(tmp_path)
    assert ranks(load_preferences(folder)) == [("p", (1, 3, 2))]
    (folder / "test").rename(folder / "part-1")
    names = [f"part-1/{name}" for name in THREE]
    (folder / "test.json").write_text(json.dumps([{"prompt": "p", "generations": names, "ranking": [1, 1, 2]}]))
    assert ranks(load_preferences(folder)) == [("p", (1, 1, 2))]


def test_a_picture_that_ties_with_itself_is_harmless(tmp_path: Path) -> None:
    folder = hpdv2(image_path=["a.png", "a.png", "b.png"], rank=[1, 1, 2])(tmp_path)
    assert ranks(load_preferences(folder)) == [("p", (1, 1, 2))]


def test_a_pick_a_pic_row_of_one_image_is_dropped_whatever_its_flag_says(tmp_path: Path) -> None:
    same = row(jpg_1=row()["jpg_0"], are_different=True)
    pq.write_table(pa.Table.from_pylist([row(), same], SCHEMA), tmp_path / "train.parquet")
    run = import_preferences(ImportConfig(source=str(tmp_path), out=tmp_path / "run"))
    counted = RunFolder(run).finished or {}
    assert (counted["ranked sets"], counted["rows of two equal images"]) == (1, 1)


def test_images_of_a_prompt_are_one_set_whatever_their_prompt_index(tmp_path: Path) -> None:
    pictures(tmp_path / "images")
    rows = [{"file_name": f"{name}.png", "prompt": "p", "prompt_index": i} for i, name in enumerate(COLOURS)]
    rows.append({"file_name": "a.png", "prompt": "p", "prompt_index": 9})  # the same picture again
    (tmp_path / "images/metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    scores = score(ScoreConfig(images=tmp_path / "images", scorer=("image:brightness",), out=tmp_path / "scores"))
    run = prefer_from_scores(FromScoresConfig(scores=scores, out=tmp_path / "run"))
    (only,) = load_preferences(run)
    assert [image.open().getpixel((0, 0)) for image in only.images] == [(255, 0, 0), (0, 128, 0), (0, 0, 255)]
    assert (RunFolder(run).finished or {})["images that are the same as another of their prompt"] == 1


def test_a_damaged_image_is_a_bad_row_and_damaged_exif_is_none(tmp_path: Path) -> None:
    folder = pairs("prompt,preferred,rejected\np,a.png,b.png\nq,c.png,d.avif\n")(tmp_path / "data")
    (folder / "d.avif").write_bytes(b"\0\0\0\x18ftypavif\0\0\0\0avifmif1" + bytes(64))
    run = import_preferences(ImportConfig(source=str(folder), out=tmp_path / "run", skip_bad=True))
    assert ((RunFolder(run).finished or {})["ranked sets"], "d.avif" in (run / "bad_rows.txt").read_text()) == (1, True)


SHARED_BAD = {
    "pairs/comma": "line 2",
    "pairs/comma_rank": "line 2",
    "pairs/openquote": "line 2",
    "pairs/nan_prompt": "NaN",
    "pairs/list_prompt": "not text",
    "pairs/surrogate": "a lone surrogate",
    "pairs/dup_image": "twice",
    "labelstudio/surrogate": "a lone surrogate",
    "labelstudio/both_images_same": "the same image",
    "hpdv2/dup_paths": "the same image",
    "hpdv2/raw_item_null": "annotation None",
    "hpdv2/raw_ranks_null": "no list of rankings",
    "hpdv2/big_rank": "must be from",
}
SHARED_GOOD = {
    "pairs/tie_column": [(1, 1)],
    "pairs/float_rank": [(1, 2)],
    "hpdv2/system_int": [(1, 2, 3)],
    "hpdv2/imagereward_fidelity": [(1, 2, 3)],
}


@pytest.mark.parametrize("case", SHARED_BAD)
def test_a_bad_case_is_refused(shared_cases: Path, case: str) -> None:
    with pytest.raises(InputError, match=SHARED_BAD[case]):
        load_preferences(shared_cases / case)


@pytest.mark.parametrize("case", SHARED_GOOD)
def test_a_good_case_is_read(shared_cases: Path, case: str) -> None:
    assert [each.ranks for each in load_preferences(shared_cases / case)] == SHARED_GOOD[case]


@pytest.mark.parametrize("case, kept", [("hub_layout", 1), ("same_bytes_flag_true", 1), ("splits", 1)])
def test_the_cases_of_pick_a_pic_are_read(shared_cases: Path, case: str, kept: int) -> None:
    assert detect(shared_cases / "pickapic" / case) == "pickapic"
    assert len(load_preferences(shared_cases / "pickapic" / case)) >= kept


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's remarks on damaged EXIF
def test_the_case_of_damaged_pictures_is_imported_without_what_is_damaged(shared_cases: Path, tmp_path: Path) -> None:
    run = import_preferences(ImportConfig(source=str(shared_cases / "skipbad"), out=tmp_path / "run", skip_bad=True))
    assert (RunFolder(run).finished or {})["ranked sets"] == 2  # only the EXIF of its JPEG is damaged
