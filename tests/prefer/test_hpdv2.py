"""HPDv2 is read with its raters' votes: made-up rows in both layouts, and the real rankings where they are at hand."""

from __future__ import annotations

import json
from functools import cache
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from pictures import encoded

from palate.core.errors import InputError
from palate.prefer.importing import ImportConfig, import_preferences
from palate.prefer.load import detect, load_preferences
from palate.prefer.readers import hpdv2
from palate.records.columns import Rankings
from palate.records.ranked import RankedSet
from palate.records.tally import Tally

GALLERY = {"prompt": "a cat", "images": ["0.jpg", "1.jpg", "2.jpg"], "system": ["s0", "s1", "s2"]}


def gallery(folder: Path, *rows: dict) -> Path:
    (folder / "images").mkdir(parents=True)
    for i, colour in enumerate(("red", "green", "blue")):
        (folder / "images" / f"{i}.jpg").write_bytes(encoded(colour, kind="JPEG"))
    (folder / "annotations.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def released(folder: Path, name: str, rows: list[dict]) -> Path:
    (folder / name).mkdir(parents=True)
    for i in range(3):
        (folder / name / f"{i}.jpg").write_bytes(encoded(("red", "green", "blue")[i], kind="JPEG"))
    (folder / f"{name}.json").write_text(json.dumps(rows))
    return folder


def test_a_gallery_extract_keeps_each_rater_s_ranking(tmp_path: Path) -> None:
    folder = gallery(tmp_path, GALLERY | {"raw_ranks": [[1, 2, 3], [2, 1, 3], [1, 3, 2]]})
    (one,) = load_preferences(folder)
    assert (one.ranks, one.systems) == ((1, 2, 3), ("s0", "s1", "s2"))
    assert [vote.ranks for vote in one.votes] == [(1, 2, 3), (2, 1, 3), (1, 3, 2)]


def test_the_released_test_split_is_read(tmp_path: Path) -> None:
    raw = [
        {"rank": [0, 1, 2], "user_hash": "u"},
        {"rank": [0, 2, 1], "user_hash": "v"},
        {"rank": [1, 0, 2], "user_hash": "w"},
    ]
    row = {"prompt": "a cat", "image_path": ["0.jpg", "1.jpg", "2.jpg"], "rank": [0, 1, 2], "raw_annotations": raw}
    (one,) = load_preferences(released(tmp_path, "test", [row]))
    assert one.ranks == (1, 2, 3)
    assert [(vote.rater, vote.ranks) for vote in one.votes] == [("u", (1, 2, 3)), ("v", (1, 3, 2)), ("w", (2, 1, 3))]


def test_the_released_train_split_is_read_as_pairs(tmp_path: Path) -> None:
    rows = [{"prompt": "a", "file_path": ["0.jpg", "1.jpg"], "human_preference": [0, 1], "user_hash": "u"}]
    (one,) = load_preferences(released(tmp_path, "train", rows))
    assert (one.ranks, one.votes[0].rater) == ((2, 1), "u")


@pytest.mark.parametrize(
    "wrong, complaint",
    [
        (
            {"raw_ranks": [[1, 2, 3], [1, 2]]},
            "line 2 of .*annotations.jsonl: the vote of 'rater 1' does not match its images: 2",
        ),
        ({"raw_ranks": [[1, 2, "third"]]}, "a rank is 'third', not a whole number"),
        ({"raw_ranks": [[1, 2, 3]], "images": ["0.jpg", "1.jpg", "9.jpg"]}, "9.jpg does not exist"),
        ({"raw_ranks": [[1, 2, 3]], "images": None}, "no list of images"),
        ({"raw_ranks": [[2, 3, 4]]}, "must give its best image rank 1"),
        ({"raw_ranks": [[1, 2, 3]], "prompt": ""}, "the prompt is blank"),
        ({}, "no ranking but None among prompt, images, system"),
    ],
)
def test_a_bad_row_is_refused_by_name_or_skipped_and_counted(tmp_path: Path, wrong: dict, complaint: str) -> None:
    good = GALLERY | {"raw_ranks": [[1, 2, 3]]}
    folder = gallery(tmp_path, good, GALLERY | wrong)
    with pytest.raises(InputError, match=complaint):
        load_preferences(folder)
    tally = Tally(skip_bad=True)
    assert len(list(hpdv2.read(folder, tally))) == 1
    assert tally.summary() == {"bad rows": 1}


@pytest.mark.parametrize("content", ['{"prompt": 1}', "[1, 2]", "[", '[{"prompt": "a", "file_path": ["0.jpg"]}]'])
def test_rubbish_in_the_annotations_is_one_clear_error(tmp_path: Path, content: str) -> None:
    (tmp_path / "train.json").write_text(content)
    with pytest.raises(InputError, match=r"train\.json"):
        load_preferences(tmp_path)


read_once = cache(load_preferences)


@pytest.fixture
def real(shared_data: Path) -> list[RankedSet]:
    return read_once(shared_data / "hpdv2_test30")


def test_the_real_rankings_hold_30_prompts_of_278_images_by_ten_raters(real: list[RankedSet]) -> None:
    assert len(real) == 30
    assert sum(len(one.images) for one in real) == 278
    assert all(len(one.votes) == 10 for one in real)


def test_the_real_rankings_expand_to_11520_votes_without_a_tie(real: list[RankedSet]) -> None:
    by_rater = [RankedSet(one.prompt, one.images, vote.ranks) for one in real for vote in one.votes]
    assert all(sorted(one.ranks or ()) == list(range(1, len(one.images) + 1)) for one in by_rater)
    assert len(Rankings.of(by_rater).pairs()[0]) == 11520


def test_the_real_raters_agree_as_they_were_measured_to(real: list[RankedSet]) -> None:
    """On the 40 prompts that these are part of: Kendall's W 0.751; one rater agrees with the other nine on 83.9%."""
    concordance, agreed = [], []
    for one in real:
        ranks = np.array([vote.ranks for vote in one.votes])  # [raters, n]
        raters, n = ranks.shape
        spread = ((ranks.sum(0) - ranks.sum(0).mean()) ** 2).sum()
        concordance.append(12 * spread / (raters**2 * (n**3 - n)))
        for i, j in combinations(range(n), 2):
            prefers = np.sign(ranks[:, j] - ranks[:, i])
            others = np.sign(prefers.sum() - prefers)
            agreed += (prefers == others)[others != 0].tolist()
    assert np.mean(concordance) == pytest.approx(0.751, abs=0.03)
    assert np.mean(agreed) == pytest.approx(0.839, abs=0.02)


def test_the_borda_ranking_follows_the_majority_of_the_real_raters(real: list[RankedSet]) -> None:
    followed = []
    for one in real:
        for i, j in combinations(range(len(one.images)), 2):
            majority = np.sign(sum(np.sign(vote.ranks[j] - vote.ranks[i]) for vote in one.votes))
            assert one.ranks is not None
            if majority and one.ranks[i] != one.ranks[j]:
                followed.append(majority == np.sign(one.ranks[j] - one.ranks[i]))
    assert np.mean(followed) > 0.95


def test_the_real_data_are_imported_with_their_votes(real: list[RankedSet], shared_data: Path, tmp_path: Path) -> None:
    assert detect(shared_data / "hpdv2_test30") == "hpdv2"
    run = import_preferences(ImportConfig(source=str(shared_data / "hpdv2_test30"), out=tmp_path / "run"))
    back = load_preferences(run)
    assert [(one.prompt, one.ranks, one.votes, one.systems) for one in back] == [
        (one.prompt, one.ranks, one.votes, one.systems) for one in real
    ]
    assert [one.key() for one in back] == [one.key() for one in real]
