"""Splits of published data are not mixed without a word: train is read, and what is not read is said."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Dataset, DatasetDict
from pictures import encoded, stored
from prefer.test_pickapic import SCHEMA, row
from prefer.test_readers_annotation import flat

from palate.core.errors import InputError
from palate.core.runs import RunFolder
from palate.prefer.importing import ImportConfig, import_preferences
from palate.prefer.load import detect, load_preferences
from palate.prefer.readers.splits import files_by_split, split_of
from palate.records.parquet import write_sets
from palate.records.ranked import RankedSet


def pickapic(file: Path, caption: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist([row(caption=caption)], SCHEMA), file)


def prompts(source: Path, **settings: Any) -> list[str]:
    run = import_preferences(ImportConfig(source=str(source), out=source.parent / f"run-{len(settings)}", **settings))
    return [each.prompt for each in load_preferences(run)]


@pytest.mark.parametrize(
    "layout",
    [
        "{split}-00000.parquet",
        "{split}-00000-of-00004-0c2b6d1f9f4a3a5e.parquet",
        "data/{split}-00000-of-00004.parquet",
        "{split}/0000.parquet",
        "default/{split}/0000.parquet",
    ],
)
def test_train_is_read_of_every_layout_and_the_others_are_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], layout: str
) -> None:
    data = tmp_path / "data set"
    for split in ("test", "train", "validation_unique"):
        pickapic(data / layout.format(split=split), split)
    assert detect(data) == "pickapic"
    assert [each.prompt for each in load_preferences(data)] == ["train"]
    said = "reading the split train of .*data set, and not test and validation_unique; `palate prefer import --split`"
    assert re.search(said, capsys.readouterr().err)
    run = import_preferences(ImportConfig(source=str(data), out=tmp_path / "run"))
    assert (RunFolder(run).finished or {})["split"] == "train"


def test_another_split_is_read_where_it_is_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for split in ("train", "validation"):
        pickapic(tmp_path / "data" / f"{split}-00000.parquet", split)
    assert prompts(tmp_path / "data", split="validation") == ["validation"]
    assert capsys.readouterr().err == ""
    run = import_preferences(ImportConfig(source=str(tmp_path / "data"), split="all", out=tmp_path / "all"))
    assert [each.prompt for each in load_preferences(run)] == ["train", "validation"]
    with pytest.raises(
        InputError, match="no split 'validaton'; did you mean 'validation'.; give split one of train, val"
    ):
        import_preferences(ImportConfig(source=str(tmp_path / "data"), split="validaton", out=tmp_path / "none"))


def test_the_only_split_is_read_whatever_its_name_and_of_several_without_train_one_must_be_named(
    tmp_path: Path,
) -> None:
    pickapic(tmp_path / "test-0.parquet", "test")
    assert [each.prompt for each in load_preferences(tmp_path)] == ["test"]
    pickapic(tmp_path / "validation-0.parquet", "validation")
    with pytest.raises(InputError, match="has no split 'train'; give split one of test, validation or all"):
        load_preferences(tmp_path)


def test_files_of_one_split_are_read_in_order_and_those_without_a_split_are_no_split(tmp_path: Path) -> None:
    for name in ("b", "a", "training-notes"):
        pickapic(tmp_path / f"{name}.parquet", name)
    assert [each.prompt for each in load_preferences(tmp_path)] == ["training-notes"]
    (tmp_path / "training-notes.parquet").unlink()
    assert [each.prompt for each in load_preferences(tmp_path)] == ["a", "b"]
    with pytest.raises(InputError, match="has no splits, so none is 'train'"):
        prompts(tmp_path, split="train")


def test_the_splits_of_hpdv2_are_not_mixed(tmp_path: Path) -> None:
    for split, ranking in (("train", {"human_preference": [0, 1]}), ("test", {"rank": [0, 1]})):
        (tmp_path / "data" / split).mkdir(parents=True)
        for name, colour in (("a", "red"), ("b", "green")):
            (tmp_path / "data" / split / f"{name}.png").write_bytes(encoded(colour))
        rows = [{"prompt": split, "image_path": ["a.png", "b.png"], **ranking}]
        (tmp_path / "data" / f"{split}.json").write_text(json.dumps(rows))
    assert [(each.prompt, each.ranks) for each in load_preferences(tmp_path / "data")] == [("train", (2, 1))]
    assert prompts(tmp_path / "data", split="test") == ["test"]


def test_the_splits_of_a_folder_of_datasets_are_not_mixed(tmp_path: Path) -> None:
    images = {f"image-{n}": {"bytes": encoded(colour), "path": None} for n, colour in ((1, "red"), (2, "blue"))}
    splits = {
        name: Dataset.from_list([flat(["image_2"], ["submitted"], prompt=name, **images)]) for name in ("train", "test")
    }
    DatasetDict(splits).save_to_disk(str(tmp_path / "data"))
    assert detect(tmp_path / "data") == "argilla"
    assert [each.prompt for each in load_preferences(tmp_path / "data")] == ["train"]
    assert prompts(tmp_path / "data", split="test") == ["test"]


def test_ranked_sets_of_our_own_are_read_as_a_hub_has_them(tmp_path: Path) -> None:
    for split in ("train", "test"):
        images = (stored("red"), stored("blue"))
        write_sets([RankedSet(split, images, (1, 2))], tmp_path / f"data/{split}-00000-of-00001.parquet")
    assert detect(tmp_path) == "palate"
    assert [each.prompt for each in load_preferences(tmp_path)] == ["train"]


def test_a_format_without_splits_says_so(tmp_path: Path) -> None:
    for name, colour in (("a", "red"), ("b", "green")):
        (tmp_path / f"{name}.png").write_bytes(encoded(colour))
    (tmp_path / "metadata.csv").write_text("prompt,preferred,rejected\np,a.png,b.png\n")
    with pytest.raises(InputError, match="is in the format pair-folder, which has no splits; leave split out"):
        import_preferences(ImportConfig(source=str(tmp_path), split="train", out=tmp_path / "run"))


@pytest.mark.parametrize(
    "name, split",
    [
        ("train-00000.parquet", "train"),
        ("Train.parquet", "train"),
        ("test_unique-0.parquet", "test_unique"),
        ("training", "training"),
        ("trainer.parquet", ""),
        ("latest-0.parquet", ""),
        ("preferences.parquet", ""),
        ("validation.parquet", "validation"),
        ("dev2.parquet", "dev"),
    ],
)
def test_a_split_is_a_word_at_the_beginning_of_a_name(name: str, split: str) -> None:
    assert split_of(name) == split


def test_folders_that_end_like_files_are_none(tmp_path: Path) -> None:
    (tmp_path / "train-0.parquet").mkdir()
    assert files_by_split(tmp_path, ".parquet") == {}
    assert files_by_split(tmp_path / "nothing", ".parquet") == {}


def test_the_shared_cases_are_read_by_split(shared_cases: Path, tmp_path: Path) -> None:
    source = shared_cases / "pickapic" / "splits"
    counts = []
    for split in (None, "train", "validation", "test", "all"):
        run = import_preferences(ImportConfig(source=str(source), split=split, out=tmp_path / str(split)))
        counts.append((RunFolder(run).finished or {})["ranked sets"])
    assert counts[0] == counts[1]
    assert counts[4] == sum(counts[1:4])
