"""A folder of one's own pairs is read in both shapes of its table."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pictures import encoded

from palate.core.errors import InputError
from palate.prefer.load import load_preferences
from palate.prefer.readers import pair_folder
from palate.records.tally import Tally


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, colour in (("a", "red"), ("b", "green"), ("c", "blue")):
        (tmp_path / f"{name}.png").write_bytes(encoded(colour))
    return tmp_path


def table(folder: Path, text: str, name: str = "metadata.csv") -> Path:
    (folder / name).write_text(text)
    return folder


@pytest.mark.parametrize("suffix", ["", "_file_name"])
def test_a_pair_a_row(folder: Path, suffix: str) -> None:
    header = f"prompt,preferred{suffix},rejected{suffix}\n"
    one, two = load_preferences(table(folder, header + '"a cat, sitting",b.png,a.png\na dog,a.png,c.png\n'))
    assert (one.prompt, one.ranks, [i.path for i in one.images]) == (
        "a cat, sitting",
        (2, 1),
        [folder / "a.png", folder / "b.png"],
    )
    assert (two.prompt, two.ranks) == ("a dog", (1, 2))


def test_several_rows_about_two_images_are_votes(folder: Path) -> None:
    rows = [("ann", "a", "b"), ("bob", "b", "a"), ("cyd", "b", "a")]
    lines = [{"prompt": "a cat", "preferred": f"{a}.png", "rejected": f"{b}.png", "rater": r} for r, a, b in rows]
    (one,) = load_preferences(table(folder, "\n".join(map(json.dumps, lines)), "metadata.jsonl"))
    assert one.ranks == (2, 1)
    assert [(vote.rater, vote.ranks) for vote in one.votes] == [("ann", (1, 2)), ("bob", (2, 1)), ("cyd", (2, 1))]


def test_an_image_a_row(folder: Path) -> None:
    text = "file_name,prompt,rank\na.png,a cat,2\nb.png,a cat,1\nc.png,a cat,2\na.png,alone,1\n"
    tally = Tally()
    (one,) = pair_folder.read(table(folder, text), tally)
    assert one.ranks == (2, 1, 2)
    assert tally.summary() == {"prompts with a single image": 1}


def test_datasets_opens_a_folder_of_pairs(folder: Path, tmp_path: Path) -> None:
    import datasets

    row = {"prompt": "a cat", "preferred_file_name": "b.png", "rejected_file_name": "a.png"}
    table(folder, json.dumps(row) + "\n", "metadata.jsonl")
    row = datasets.load_dataset("imagefolder", data_dir=str(folder), cache_dir=str(tmp_path / "cache"))["train"][0]
    assert row["preferred"].getpixel((0, 0)) == (0, 128, 0)


@pytest.mark.parametrize(
    "text, complaint",
    [
        ("prompt,preferred,rejected\na cat,a.png,\n", "line 2 of .*metadata.csv: the rejected image is blank"),
        ("prompt,preferred,rejected\na cat,a.png\n", "the rejected image is missing"),
        ("prompt,preferred,rejected\na cat,a.png,a.png\n", "both preferred and rejected"),
        ("prompt,preferred,rejected\na cat,a.png,z.png\n", "z.png does not exist"),
        ("prompt,preferred,rejected\n", "has no rows"),
        ("text,better,worse\nx,y,z\n", "has the columns better, text, worse; it needs prompt, preferred, rejected"),
        ("file_name,prompt,rank\na.png,a cat,best\nb.png,a cat,2\n", "the rank is 'best', not a whole number"),
        ("file_name,prompt,rank\na.png,a cat,3\nb.png,a cat,2\n", "must give its best image rank 1, not 2"),
    ],
)
def test_a_bad_table_is_one_clear_error(folder: Path, text: str, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        load_preferences(table(folder, text))


def test_a_table_that_is_no_text_is_one_clear_error(folder: Path) -> None:
    (folder / "metadata.csv").write_bytes(b"prompt,preferred,rejected\n\xff\xfe,a.png,b.png\n")
    with pytest.raises(InputError, match="metadata.csv is not UTF-8: line 2 has the byte 0xff"):
        load_preferences(folder)
