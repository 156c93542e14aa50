"""A folder of one's own pairs is read in both shapes of its table."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pictures import encoded

from palate.core.errors import InputError
from palate.prefer.load import load_preferences
from palate.prefer.readers import pair_folder
from palate.prefer.readers.reader import Selection
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
        (
            "text,bettr,worse\nx,y,z\n",
            "the columns text, bettr, rejected; did you mean 'better'.; it needs prompt and pref",
        ),
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


@pytest.mark.parametrize("columns", ["preferred,rejected", "Chosen,Rejected", "winner,loser", "img_better,img_worse"])
def test_a_table_may_be_a_file_with_other_names_of_its_columns(folder: Path, columns: str) -> None:
    (folder / "tables").mkdir()
    (folder / "a.png").rename(folder / "tables/a.png")
    (folder / "b.png").rename(folder / "tables/b.png")
    table(folder / "tables", f"prompt,{columns}\na cat,b.png,a.png\n", "mine.csv")
    (one,) = load_preferences(folder / "tables/mine.csv")
    assert (one.ranks, [image.path for image in one.images]) == (
        (2, 1),
        [folder / "tables/a.png", folder / "tables/b.png"],
    )


ONE = {"prompt": "a cat", "winner": "b.png", "loser": "a.png"}


def rows(folder: Path, *rows: object, name: str = "mine.jsonl") -> Path:
    text = "\n".join(map(json.dumps, rows)) if name.endswith("l") else json.dumps(rows)
    return table(folder, text, name) / name


@pytest.mark.parametrize(
    "given, raters",
    [
        ({"votes_winner": 7, "votes_loser": 3}, (7, 3)),
        ({"votes_winner": "2", "votes_loser": 0.0}, (2, 0)),
        ({"share": 0.7}, (7, 3)),
        ({"share": 18 / 19}, (18, 1)),
        ({"share": "1"}, (1, 0)),
        ({"votes_winner": 0, "votes_loser": 0, "share": 0.75}, (3, 1)),
        ({"share": None}, (1, 0)),
    ],
)
def test_counts_and_shares_of_raters_are_votes(folder: Path, given: dict, raters: tuple[int, int]) -> None:
    for name in ("mine.jsonl", "mine.json"):
        (one,) = load_preferences(rows(folder, ONE | given, name=name))
        ranks = [vote.ranks for vote in one.votes]
        assert (ranks.count((2, 1)), ranks.count((1, 2))) == raters
        assert one.ranks == (2, 1)
        assert len({vote.rater for vote in one.votes}) == sum(raters)


def test_equal_counts_are_a_tie_and_rows_of_the_same_pair_add_up(folder: Path) -> None:
    half = ONE | {"votes_winner": 2, "votes_loser": 2}
    turned = {"prompt": "a cat", "winner": "a.png", "loser": "b.png", "votes_winner": 3, "votes_loser": 1}
    assert load_preferences(rows(folder, half))[0].ranks == (1, 1)
    (one,) = load_preferences(rows(folder, half, turned))
    assert (one.ranks, len(one.votes)) == ((1, 2), 8)


def test_a_list_a_row_is_a_ranked_set(folder: Path) -> None:
    names = ["a.png", "b.png", "c.png"]
    (one,) = load_preferences(rows(folder, {"prompt": "a cat", "images": names, "ranks": [2, 1, 5]}))
    assert (one.ranks, [image.path for image in one.images]) == ((2, 1, 3), [folder / name for name in names])
    text = 'caption,images,ranking\na cat,"[""a.png"", ""b.png""]","[1, 1]"\n'
    assert load_preferences(table(folder, text, "mine.csv") / "mine.csv")[0].ranks == (1, 1)


def test_a_confidence_selects_rows(folder: Path) -> None:
    source = rows(folder, *(ONE | {"prompt": str(each), "confidence": each} for each in (0.9, 0.5, None)))
    tally = Tally()
    (one,) = pair_folder.read(source, tally, Selection(confidence=0.6))
    assert one.prompt == "0.9"
    assert tally.summary() == {"pairs of lower confidence": 1, "pairs without a confidence": 1}
    ranked = rows(folder, {"prompt": "p", "images": ["a.png", "b.png"], "ranks": [1, 2]}, name="ranked.jsonl")
    with pytest.raises(InputError, match="have no confidences; leave confidence out"):
        list(pair_folder.read(ranked, Tally(), Selection(confidence=0.6)))


@pytest.mark.parametrize(
    "row, complaint",
    [
        (ONE | {"votes_winner": 3, "votes_loser": 5}, "3 of 8 raters prefer the preferred image; exchange the two"),
        (ONE | {"share": 0.4}, "2 of 5 raters prefer the preferred image"),
        (ONE | {"share": 70}, "the share is 70, and must be from 0 to 1"),
        (ONE | {"votes_winner": 3}, "the number of votes is missing, not a whole number"),
        (ONE | {"votes_winner": -3, "votes_loser": 1}, "the number of votes is -3, and must be from 0"),
        (ONE | {"preferred": "a.png"}, "two columns, 'preferred' and another, are both the preferred; remove one"),
        (ONE | {"loser": "b.png"}, "'b.png' is both preferred and rejected"),
        (ONE | {"loser": "x.png"}, "x.png does not exist"),
        (ONE | {"loser": "broken.png"}, "broken.png cannot be decoded"),
        (ONE | {"prompt": ""}, "the prompt is blank"),
        (ONE | {"confidence": "sure"}, "the confidence is 'sure', not a finite number"),
    ],
)
def test_a_bad_row_of_a_table_is_refused_by_its_line_or_left_out(folder: Path, row: dict, complaint: str) -> None:
    (folder / "broken.png").write_bytes(b"\x89PNG")
    source = rows(folder, ONE, row, ONE | {"prompt": "a dog"})
    with pytest.raises(InputError, match=f"line 2 of .*mine.jsonl: .*{complaint}"):
        load_preferences(source)
    tally = Tally(skip_bad=True)
    assert ([each.prompt for each in pair_folder.read(source, tally)], len(tally.bad)) == (["a cat", "a dog"], 1)


LISTS = {"prompt": "p", "images": ["a.png", "b.png"], "ranks": [1, 2]}


@pytest.mark.parametrize(
    "row, complaint",
    [
        (LISTS | {"ranks": [1]}, "1 ranks for 2 images; give each image one"),
        (LISTS | {"ranks": [1, float("nan")]}, "a rank is NaN, not a whole number"),
        (LISTS | {"ranks": [1, 0]}, "a rank is 0, and must be from 1"),
        (LISTS | {"ranks": "1, 2"}, "the ranks are '1, 2', which is not a JSON list"),
        (LISTS | {"images": "a.png"}, "the images are 'a.png', which is not a JSON list"),
        (LISTS | {"images": ["a.png", "a.png"]}, "the image 'a.png' occurs twice"),
        (LISTS | {"images": {"a.png": 1}}, "the images are .*, not a list"),
    ],
)
def test_a_bad_list_is_refused_by_its_line(folder: Path, row: dict, complaint: str) -> None:
    with pytest.raises(InputError, match=f"line 2 of .*mine.jsonl: {complaint}"):
        load_preferences(rows(folder, LISTS, row))


def test_a_table_without_known_columns_names_the_nearest_and_all_layouts(folder: Path) -> None:
    source = table(folder, "prompt,winer,image_b\np,a.png,b.png\n", "mine.csv") / "mine.csv"
    complaint = "the columns prompt, winer, image_b; did you mean 'winner'.; it needs prompt and preferred and rejected"
    with pytest.raises(InputError, match=complaint):
        load_preferences(source)
    table(folder, "", "empty.csv")
    with pytest.raises(InputError, match=r"empty\.csv has no rows"):
        load_preferences(folder / "empty.csv")


def test_a_table_of_parquet_names_its_images_too(folder: Path) -> None:
    pq.write_table(pa.Table.from_pylist([ONE | {"votes_winner": 4, "votes_loser": 1}]), folder / "mine.parquet")
    (one,) = load_preferences(folder / "mine.parquet")
    assert (one.ranks, len(one.votes)) == ((2, 1), 5)
