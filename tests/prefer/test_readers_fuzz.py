"""Whatever a source of preferences, images or prompts holds, it is read or refused by one clear error."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Dataset
from fuzzing import EXAMPLES, damaged, edits, settings, spoilt
from hypothesis import given
from pictures import encoded
from prefer.test_pickapic import SCHEMA, row
from prefer.test_readers_annotation import PAIR, SERVED, THREE, TIE, TOLD, annotation, flat, nested, result, said, task
from published import (
    hpdv3_row,
    imagereward_embedded,
    imagereward_groups,
    imagereward_rows,
    open_preferences,
    rated,
    record,
)

from palate.core.errors import PalateError
from palate.generate.prompts import load_prompts
from palate.prefer.curated import is_curated
from palate.prefer.grades import load_graded
from palate.prefer.load import detect, iterate_preferences, load_rankings
from palate.records.image_folder import read_image_folder
from palate.records.jsonlines import JsonLines
from palate.records.parquet import write_sets
from palate.records.ranked import RankedSet
from palate.records.tally import Tally

COLOURS = {"a": "red", "b": "green", "c": "blue"}
FIELDS = {"prompt": "a cat", "image-1": "images/a.png", "image-2": "images/b.png"}
DOCUMENTS: dict[str, tuple[str, Any]] = {
    "pairs": (
        "metadata.jsonl",
        [{"prompt": "p", "preferred": "a.png", "rejected": "b.png", "tie": 0, "rater": "x"}] * 2,
    ),
    "ranks": ("metadata.jsonl", [{"file_name": f"{c}.png", "prompt": "p", "rank": i} for i, c in enumerate("abc", 1)]),
    "images": (
        "metadata.jsonl",
        [
            {"file_name": f"{c}.png", "prompt": "p", "seed": i, "prompt_index": 0, "image_index": i, "model": "m"}
            for i, c in enumerate("abc")
        ],
    ),
    "grades": ("metadata.jsonl", [{"file_name": f"{c}.png", "prompt": "p", "grade": 0.5} for c in "ab"]),
    "prompts": ("prompts.json", ["a cat", {"prompt": "a dog", "n": 1}, {"caption": "a cow"}]),
    "hpdv2": (
        "test.json",
        [
            {
                "prompt": "p",
                "image_path": ["a.png", "b.png", "c.png"],
                "rank": [0, 1, 2],
                "raw_annotations": [{"rank": [0, 1, 2], "user_hash": "u"}, {"rank": [1, 0, 2], "user_hash": 7}],
                "system": ["x", "y", "z"],
            },
            {"prompt": "p", "file_path": ["a.png", "b.png"], "human_preference": [1, 0], "user_hash": "u"},
            {"prompt": "p", "generations": ["a.png", "b.png"], "ranking": [1, 2]},
        ],
    ),
    "hpdv3": (
        "train.json",
        [hpdv3_row(path1="a.png", path2="b.png"), hpdv3_row(path1="b.png", path2="c.png", confidence=None)],
    ),
    "imagereward": (
        "train.json",
        [{**each, "image_path": f"{c}.png"} for c, each in zip("abc", imagereward_rows())],
    ),
    "imagereward's lists": ("val.json", [{"prompt": "p", "generations": ["a.png", "b.png"], "ranking": [1, 5]}]),
    "counted pairs": (
        "metadata.jsonl",
        [
            {"prompt": "p", "winner": "a.png", "loser": "b.png", "votes_winner": 3, "votes_loser": 1},
            {"prompt": "p", "winner": "a.png", "loser": "c.png", "share": 0.8, "confidence": 0.9},
        ],
    ),
    "ranked lists": ("metadata.jsonl", [{"prompt": "p", "images": ["a.png", "b.png"], "ranks": [1, 2]}] * 2),
    "gallery": (
        "annotations.jsonl",
        [{"prompt": "p", "images": ["a.png", "b.png"], "system": ["x", "y"], "raw_ranks": [[1, 2], [2, 1]]}],
    ),
    "label studio": (
        "export.json",
        [
            task(PAIR, annotation(result("pairwise", "left"), by={"id": 3, "email": "a@b.org"}), drafts=[{}]),
            task(THREE, annotation(result("ranker", {"rank 1": ["c"], "rank 2": ["a", "b"]}), by=7)),
            task({"prompt": "p", "image": "images/a.png"}, annotation(result("rating", 3)), meta={"systems": ["x"]}),
        ],
    ),
    "argilla": (
        "records.json",
        [nested(said(["image_2", "image_1"])), nested(said("tie")), SERVED, flat(["image_1"], ["submitted"])],
    ),
    "argilla 1": ("records.jsonl", [{**FIELDS, "pref": [said(TIE, status="submitted")]}, {**FIELDS, "pref": TOLD}]),
}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with pictures a, b and c in it, and in the folders that formats have them in."""
    root = tmp_path_factory.mktemp("pictures")
    for folder in (root, root / "images", root / "test"):
        folder.mkdir(exist_ok=True)
        for name, colour in COLOURS.items():
            (folder / f"{name}.png").write_bytes(encoded(colour))
    return root


def in_rows(rows: Any, lines: bool) -> str:
    limit = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(0)  # others may write numbers that Python refuses to read
    try:
        return "".join(json.dumps(row) + "\n" for row in rows) if lines else json.dumps(rows)
    finally:
        sys.set_int_max_str_digits(limit)


def read_everything(source: Path, out: Path) -> None:
    """Reads a source in every way that there is; each may refuse it."""
    reads: list[Callable[[], object]] = [
        *(partial(read, source) for read in (load_prompts, is_curated, detect)),
        *(partial(read, source, out / "cache") for read in (load_graded, load_rankings)),
        *(partial(read, source, Tally(skip_bad), out) for read in (_records, _sets) for skip_bad in (False, True)),
    ]
    for read in reads:
        try:
            read()
        except PalateError as error:
            str(error).encode(errors="backslashreplace")


def _records(source: Path, tally: Tally, out: Path) -> None:
    JsonLines(out / "rows.jsonl").replace(dict(each.row) for each in read_image_folder(source, tally, unprompted=True))


def _sets(source: Path, tally: Tally, out: Path) -> None:
    """What is read can be written."""
    sets = list(iterate_preferences(source, tally))
    assert all(isinstance(each, RankedSet) for each in sets)
    write_sets(sets, out / "sets.parquet")


@EXAMPLES
@pytest.mark.parametrize("kind", DOCUMENTS)
def test_a_document_of_any_content_is_read_or_refused(pictures: Path, tmp_path: Path, kind: str, examples: int) -> None:
    name, sound = DOCUMENTS[kind]
    folder = shutil.copytree(pictures, tmp_path / "data")

    @settings(examples // 8)
    @given(spoilt(sound))
    def check(rows: Any) -> None:
        (folder / name).write_text(in_rows(rows, name.endswith("l")))
        read_everything(folder / name if name == "prompts.json" else folder, tmp_path)

    check()


def parquet_file(rows: list[Any], schema: Any = None) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows, schema), sink)
    return sink.getvalue().to_pybytes()


def arrow_file(folder: Path) -> bytes:
    Dataset.from_list([flat(["image_1"], ["submitted"])]).save_to_disk(str(folder))
    return next(folder.glob("*.arrow")).read_bytes()


def own_file(folder: Path) -> bytes:
    from pictures import stored

    write_sets([RankedSet("p", (stored("red"), stored("blue")), (1, 2))], folder / "own.parquet")
    return (folder / "own.parquet").read_bytes()


def parquet_of(folder: Path) -> bytes:
    return next(folder.rglob("*.parquet")).read_bytes()


FILES: dict[str, tuple[str, Callable[[Path], bytes]]] = {
    "csv of pairs": (
        "metadata.csv",
        lambda _: b'prompt,preferred,rejected,tie\n"a, ""b""",a.png,b.png,1\nq,b.png,a.png,\n',
    ),
    "csv of ranks": ("metadata.csv", lambda _: b"file_name,prompt,rank\na.png,p,1\nb.png,p,2.0\n"),
    "csv of images": ("metadata.csv", lambda _: b"file_name,text,seed\na.png,p,1\nb.png,p,\n"),
    "tsv of prompts": ("prompts.tsv", lambda _: b'prompt\tn\n"a\tb"\t1\nc\t2\n'),
    "text of prompts": ("prompts.txt", lambda _: "a cat\r\nünï\ncafé\u2028x\n".encode()),
    "json lines": ("metadata.jsonl", lambda _: in_rows(DOCUMENTS["images"][1], lines=True).encode()),
    "label studio": ("export.json", lambda _: in_rows(DOCUMENTS["label studio"][1], lines=False).encode()),
    "pick-a-pic": ("train-0.parquet", lambda _: parquet_file([row(), row(0.0, 1.0)], SCHEMA)),
    "parquet of images": ("metadata.parquet", lambda _: parquet_file(DOCUMENTS["images"][1])),
    "own parquet": ("sets.parquet", own_file),
    "open preferences": ("train-0.parquet", lambda folder: parquet_of(open_preferences(folder))),
    "imagereward, embedded": ("train-0.parquet", lambda folder: parquet_of(imagereward_embedded(folder))),
    "imagereward, groups": ("train-0.parquet", lambda folder: parquet_of(imagereward_groups(folder))),
    "tfrecord": (
        "train.tfrecord",
        lambda folder: b"".join(map(record, [rated("a", 0.5), rated("b", 0.75), rated("c", 0.1)])),
    ),
    "arrow": ("data-0.arrow", arrow_file),
    "picture": ("a.png", lambda _: encoded("red", (16, 16))),
}


@EXAMPLES
@pytest.mark.parametrize("kind", FILES)
@pytest.mark.filterwarnings("ignore::UserWarning")  # of Pillow, about damage that it can read past
def test_a_file_with_damaged_bytes_is_read_or_refused(pictures: Path, tmp_path: Path, kind: str, examples: int) -> None:
    name, make = FILES[kind]
    folder = shutil.copytree(pictures, tmp_path / "data")
    if name == "train.tfrecord":
        (folder / "metadata.csv").write_text("file_name,prompt\na.png,p\nb.png,p\nc.png,q\n")
    if name == "a.png":
        (folder / "metadata.jsonl").write_text(in_rows(DOCUMENTS["pairs"][1], lines=True))
    sound = make(tmp_path)

    @settings(examples // 8)
    @given(edits())
    def check(changes: list[Any]) -> None:
        (folder / name).write_bytes(damaged(sound, changes))
        read_everything(folder / name if name.startswith("prompts") else folder, tmp_path)

    check()
