"""HPDv3 is read with its raters as votes, one row at a time."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pictures import encoded
from published import hpdv3, hpdv3_row, picture

from palate.core.errors import InputError
from palate.core.runs import RunFolder
from palate.prefer.importing import ImportConfig, import_preferences
from palate.prefer.load import load_preferences, load_rankings
from palate.prefer.readers import hpdv3 as reader
from palate.prefer.readers.reader import Selection
from palate.records.images import StoredImage
from palate.records.tally import Tally


def test_the_first_path_is_the_preferred_image_and_most_raters_chose_it(tmp_path: Path) -> None:
    """HPSv3's own code sorts `choice_dist`: [7, 12] and [12, 7] are both 12 votes for `path1`."""
    source = hpdv3(tmp_path, hpdv3_row(), hpdv3_row(2, 3, choice_dist=[12, 7]))
    one, two = load_preferences(source)
    assert [image.path for image in one.images] == [tmp_path / "images/0.jpg", tmp_path / "images/1.jpg"]
    assert (one.ranks, one.systems) == ((1, 2), ("flux", "kolors"))
    for each in (one, two):
        assert [vote.ranks for vote in each.votes] == [(1, 2)] * 12 + [(2, 1)] * 7
    share = load_rankings(source, tmp_path / "cache").shares(np.arange(2), 2)
    assert share[:, 0, 1].tolist() == [12 / 19, 12 / 19]


@pytest.mark.parametrize("unknown", [{"choice_dist": None}, {"choice_dist": []}, {"choice_dist": [0, 0]}])
def test_a_pair_without_votes_is_a_pair_all_the_same(tmp_path: Path, unknown: dict[str, Any]) -> None:
    (one,) = load_preferences(hpdv3(tmp_path, hpdv3_row(confidence=None, model1=None, model2=None, **unknown)))
    assert (one.ranks, one.votes, one.systems) == ((1, 2), (), ())


def test_the_keys_but_prompt_and_paths_may_be_absent(tmp_path: Path) -> None:
    row = {key: value for key, value in hpdv3_row().items() if key in ("prompt", "path1", "path2")}
    (one,) = load_preferences(hpdv3(tmp_path, row))
    assert (one.ranks, one.votes) == ((1, 2), ())


def test_a_confidence_selects_pairs_and_counts_the_others(tmp_path: Path) -> None:
    confidences = (0.95, 0.94, None, 1)
    source = hpdv3(tmp_path / "d", *(hpdv3_row(prompt=str(each), confidence=each) for each in confidences))
    run = import_preferences(ImportConfig(source=str(source), out=tmp_path / "run", confidence=0.95))
    assert [each.prompt for each in load_preferences(run)] == ["0.95", "1"]
    counted = RunFolder(run).finished or {}
    assert (counted["pairs of lower confidence"], counted["pairs without a confidence"]) == (1, 1)
    assert len(load_preferences(source)) == 4


@pytest.mark.parametrize(
    "wrong, complaint",
    [
        ({"path2": "images/9.jpg"}, r"9\.jpg does not exist"),
        ({"path2": "images/broken.jpg"}, r"broken\.jpg cannot be decoded"),
        ({"path2": "images/0.jpg"}, "images 1 and 2 are the same image"),
        ({"path2": None}, "the path2 is missing"),
        ({"path1": "../../x.jpg"}, "the path1 is '../../x.jpg', which is outside of"),
        ({"prompt": ""}, "the prompt is blank"),
        ({"choice_dist": [3]}, "the choice_dist has 1 numbers, not one for each of two images"),
        ({"choice_dist": [3, -1]}, "the choice_dist is -1, and must be from 0 to"),
        ({"choice_dist": [3, float("nan")]}, "the choice_dist is NaN, not a whole number"),
        ({"choice_dist": "7:2"}, "the choice_dist is '7:2', not a list of two numbers"),
        ({"confidence": 99}, "the confidence is 99, and must be from 0 to 1"),
    ],
)
def test_a_bad_row_is_refused_by_name_or_left_out(tmp_path: Path, wrong: dict[str, Any], complaint: str) -> None:
    source = hpdv3(tmp_path, hpdv3_row(), hpdv3_row(**wrong), 5, hpdv3_row(2, 3))
    (tmp_path / "images/broken.jpg").write_bytes(encoded(size=(64, 64), kind="JPEG")[:300])
    with pytest.raises(InputError, match=rf"row 1 of .*train\.json: .*{complaint}"):
        load_preferences(source)
    tally = Tally(skip_bad=True)
    assert len(list(reader.read(source, tally))) == 2
    assert len(tally.bad) == 2 and "row 2 of" in tally.bad[1] and "5 is not an object" in tally.bad[1]


def test_train_is_read_of_two_splits_and_test_on_request(tmp_path: Path) -> None:
    hpdv3(tmp_path, hpdv3_row(prompt="of the test"), name="test")
    hpdv3(tmp_path)
    assert [each.prompt for each in load_preferences(tmp_path)] == ["a cat"]
    assert [each.prompt for each in reader.read(tmp_path, Tally(), Selection(split="test"))] == ["of the test"]
    assert [each.prompt for each in load_preferences(tmp_path / "test.json")] == ["of the test"]


def test_an_image_of_several_pairs_is_decoded_once_and_read_when_it_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[str] = []
    opened = StoredImage.open
    monkeypatch.setattr(StoredImage, "open", lambda image: decoded.append(str(image)) or opened(image))
    pairs = [hpdv3_row(0, 1), hpdv3_row(1, 2), hpdv3_row(2, 0)]
    source = hpdv3(tmp_path / "d", *pairs)
    run = import_preferences(ImportConfig(source=str(source), out=tmp_path / "run"))
    assert sorted(decoded) == [str(source / f"images/{number}.jpg") for number in range(3)]
    assert [[image.read() for image in each.images] for each in load_preferences(run)] == [
        [picture(one), picture(other)] for one, other in ((0, 1), (1, 2), (2, 0))
    ]


def test_an_image_that_changes_while_it_is_imported_is_noticed(tmp_path: Path) -> None:
    source = hpdv3(tmp_path, hpdv3_row(0, 1), hpdv3_row(1, 2))
    sets = reader.read(source, Tally())
    next(sets)
    (source / "images/1.jpg").write_bytes(picture(9))
    with pytest.raises(InputError, match=r"1\.jpg .*changed"):
        next(sets).images[0].read()


def test_a_long_list_is_read_a_row_at_a_time(tmp_path: Path) -> None:
    """The first of 40,000 pairs is read without the others, which would take about 50 MB of Python objects."""
    source = hpdv3(tmp_path)
    row = json.dumps(hpdv3_row())
    (source / "train.json").write_text("[" + ",\n".join([row] * 40_000) + "]")
    tracemalloc.start()
    first = next(reader.read(source, Tally()))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert first.prompt == "a cat"
    assert peak < 10 * 2**20
