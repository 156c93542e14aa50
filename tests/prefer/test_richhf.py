"""RichHF-18K is read from TFRecord files, with the images and prompts of Pick-a-Pic."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from published import picture, put_pictures, rated, record, richhf

from palate.core.errors import InputError
from palate.core.runs import RunFolder
from palate.prefer.grades import load_graded
from palate.prefer.importing import ImportConfig, import_preferences
from palate.prefer.load import load_preferences
from palate.prefer.readers import richhf as reader
from palate.records.tally import Tally


def test_the_images_of_a_prompt_are_ranked_by_their_overall_score(tmp_path: Path) -> None:
    (one,) = load_preferences(richhf(tmp_path))
    assert (one.prompt, one.ranks) == ("a cat", (1, 2))
    assert dict(one.scores) == {
        "overall_score": (0.75, 0.5),
        "aesthetics_score": (0.5, 0.5),
        "artifact_score": (0.25, 0.25),
        "misalignment_score": (1.0, 1.0),
    }
    assert [image.read() for image in one.images] == [picture(0), picture(1)]


def test_each_image_is_a_graded_image(tmp_path: Path) -> None:
    graded = list(load_graded(richhf(tmp_path / "data"), tmp_path / "cache"))
    assert [(each.prompt, each.grade) for each in graded] == [("a cat", 0.75), ("a cat", 0.5), ("a dog", 0.25)]
    assert graded[2].image.read() == picture(2)


def test_images_may_be_files_with_a_table_of_their_prompts(tmp_path: Path) -> None:
    source = richhf(tmp_path)
    shutil.rmtree(source / "pickapic")
    with pytest.raises(InputError, match="has the scores of RichHF-18K and no images; put Pick-a-Pic v1's Parquet"):
        load_preferences(source)
    put_pictures(source, ["train/uid-0.png", "train/uid-1.png"])
    (source / "metadata.csv").write_text("file_name,prompt\ntrain/uid-0.png,a cat\ntrain/uid-1.png,a cat\n")
    tally = Tally()
    (one,) = reader.read(source, tally)
    assert (one.prompt, one.ranks, one.images[0].path) == ("a cat", (1, 2), source / "train/uid-0.png")
    assert tally.dropped == {"examples whose image is not there": 1}


def test_train_is_read_of_several_splits_and_dev_on_request(tmp_path: Path) -> None:
    richhf(tmp_path / "data", [rated("uid-0", 0.5), rated("uid-1", 1.0)], split="dev")
    richhf(tmp_path / "data")
    assert load_preferences(tmp_path / "data")[0].ranks == (1, 2)
    run = import_preferences(ImportConfig(source=str(tmp_path / "data"), out=tmp_path / "run", split="dev"))
    assert load_preferences(run)[0].ranks == (2, 1)


def test_what_is_left_out_is_counted(tmp_path: Path) -> None:
    examples = [rated("uid-0", 0.75), rated("uid-1", 0.75), rated("uid-2", 0.1), rated("elsewhere", 0.1)]
    tally = Tally()
    (one,) = reader.read(richhf(tmp_path, examples), tally)
    assert one.ranks == (1, 1)
    assert tally.dropped == {"examples whose image is not there": 1, "prompts with a single image": 1}


@pytest.mark.parametrize(
    "wrong, complaint",
    [
        (rated("uid-1", float("nan")), "the overall_score is NaN, not a finite number"),
        (rated("uid-1", 1.5), "the overall_score is 1.5, and must be from 0 to 1"),
        (rated("uid-1", 0.5, artifact_score=None), "the artifact_score is missing"),
        (rated("uid-1", 0.5, filename=b"\xff"), "the filename is not UTF-8"),
        (rated("uid-1", 0.5, filename=""), "the filename is blank"),
        (b"\x0a\xff\x01", "it is not a tf.train.Example"),
    ],
)
def test_a_bad_example_is_refused_by_its_number_or_left_out(tmp_path: Path, wrong: bytes, complaint: str) -> None:
    good = [rated("uid-0", 0.75), rated("uid-1", 0.5)]
    source = richhf(tmp_path / "data", [good[0], wrong, good[1]])
    with pytest.raises(InputError, match=rf"record 1 of .*train\.tfrecord: {complaint}"):
        load_preferences(source)
    run = import_preferences(ImportConfig(source=str(source), out=tmp_path / "run", skip_bad=True))
    assert len(load_preferences(run)) == 1
    assert (RunFolder(run).finished or {})["bad rows"] == 1


def test_a_broken_image_is_a_bad_row(tmp_path: Path) -> None:
    source = richhf(tmp_path)
    shutil.rmtree(source / "pickapic")
    put_pictures(source, ["train/uid-0.png"])
    (source / "train/uid-1.png").write_bytes(b"no picture")
    (source / "metadata.csv").write_text("file_name,prompt\ntrain/uid-0.png,a cat\ntrain/uid-1.png,a cat\n")
    with pytest.raises(InputError, match=r"record 0 of .* others of its prompt: .*uid-1\.png cannot be dec"):
        load_preferences(source)
    assert [each.grade for each in reader.grades(source, Tally(skip_bad=True))] == [0.75]


def test_the_pointer_of_a_clone_without_large_files_is_named(tmp_path: Path) -> None:
    source = richhf(tmp_path)
    (source / "train.tfrecord").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:3ab1\n")
    with pytest.raises(InputError, match=r"train\.tfrecord is a pointer of Git LFS and not the file itself"):
        load_preferences(source)


def test_the_same_image_twice_is_one_image(tmp_path: Path) -> None:
    twice = [rated("uid-0", 0.75), rated("uid-0", 0.2), rated("uid-1", 0.5)]
    (one,) = load_preferences(richhf(tmp_path, twice))
    assert (len(one.images), one.ranks) == (2, (1, 2))
    assert record(twice[0])  # a record has its own checksum
