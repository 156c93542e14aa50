"""Every export format is read back by its own reader, and counts the data that it cannot represent."""

from __future__ import annotations

import json
import uuid
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from collect.test_export import PAIRS, drawn, export, studied, summary, vote
from prefer.test_pickapic import SCHEMA

from palate.collect.asking import next_screens
from palate.collect.database_rows import AssignmentRow, ItemRow
from palate.collect.study import OpenStudy
from palate.collect.voting import VoteRequest, add_vote
from palate.prefer.aggregation import aggregate
from palate.prefer.load import detect, load_preferences, locate
from palate.records.columns import Rankings
from palate.records.ranked import RankedSet

RANKINGS = {"x": ([1, 2, 2], [1, 2, 3]), "y": ([3, 1, 2], [2, 1, 2]), "z": ([1, 1, 1], [1, 1, 1])}
BEST = {"x": (0, 0), "y": (1, 2), "z": ("tie", "all_bad")}


STARS = {"x0": (5, 4, None), "x1": (3, 4, 1), "y0": (2, 2, 2), "z0": (4, 5, 3), "z1": (4, 4, 4)}


def rated(tmp: Path) -> Any:
    """Images 0 and 1 of x and z, and one of y; the third rater saw all but the first."""
    folder = drawn(tmp / "a", "a", ["x", "x", "y", "z", "z"])
    return studied(tmp, ["ann", "bob", "cy"], images=(f"a={folder}",), task="rating")


def rate(study: OpenStudy) -> None:
    """Casts `STARS`."""
    for rater in (1, 2, 3):
        for screen in next_screens(study, rater, 9):
            with study.database.read() as session:
                item = session.get_one(ItemRow, session.get_one(AssignmentRow, screen.assignment).item_id)
                seed = session.connection().exec_driver_sql(f"SELECT seed FROM image WHERE id = {item.images[0]}")
                stars = STARS[f"{item.prompt}{seed.scalar_one() - 7}"][rater - 1]
            said: dict[str, Any] = {"answers": {"general": [stars]}} if stars else {"reason": "unsure"}
            add_vote(
                study, rater, VoteRequest(str(uuid.uuid4()), screen.assignment, "answer" if stars else "skip", **said)
            )


def told(sets: Sequence[RankedSet]) -> list[Any]:
    """All fields of the sets except the raters' names."""
    about = [(each.prompt, each.ranks, tuple(vote.ranks for vote in each.votes)) for each in sets]
    more = [(each.systems, each.seeds, dict(each.scores)) for each in sets]
    return sorted(zip(about, more, [[image.open().tobytes() for image in each.images] for each in sets]), key=str)


def test_ratings_rank_the_images_of_a_prompt_by_mean_stars(tmp_path: Path) -> None:
    """x: (5 + 4) / 2 = 4.5 and (3 + 4 + 1) / 3; z: 4 and 4. Raters who saw only a part of x have no vote on it."""
    with rated(tmp_path) as study:
        rate(study)
        run = export(study)
    x, z = sorted(load_preferences(run), key=lambda each: each.prompt)
    by_seed = {seed: (rank, stars) for seed, rank, stars in zip(x.seeds, x.ranks or (), x.scores["stars"])}
    assert by_seed == {7: (1, 4.5), 8: (2, pytest.approx(8 / 3))}
    assert [dict(zip(x.seeds, vote.ranks)) for vote in x.votes] == [{7: 1, 8: 2}, {7: 1, 8: 1}]
    assert (z.ranks, z.scores["stars"]) == ((1, 1), (4.0, 4.0))
    assert [dict(zip(z.seeds, vote.ranks)) for vote in z.votes] == [{7: 1, 8: 1}, {7: 1, 8: 2}, {7: 2, 8: 1}]
    counted = summary(run)
    assert (counted["prompts with a single rated image"], counted["ratings that are in no vote"]) == (1, 1)
    assert counted["skips"] == 1


@pytest.mark.parametrize("task", ["pairwise", "best", "ranking", "rating"])
@pytest.mark.parametrize("kind", ["pickapic", "hpdv2", "label-studio"])
def test_a_format_read_back_gives_the_same_rankings(tmp_path: Path, task: Any, kind: Any) -> None:
    names = {"pairwise": "ab", "best": "abc", "ranking": "abc"}.get(task, "")
    wishes = {"pairwise": PAIRS, "best": BEST, "ranking": RANKINGS}.get(task, {})
    about = {"names": names, "task": task, "n": len(names)}
    with rated(tmp_path) if task == "rating" else studied(tmp_path, ["ann", "bob"], **about) as study:
        if task == "rating":
            rate(study)
        for rater in (1, 2) if task != "rating" else ():
            vote(study, rater, lambda prompt, _: wishes[prompt][rater - 1])  # noqa: B023
        own, run = load_preferences(export(study)), export(study, format=kind)
    assert detect(locate(run)) == kind
    back = load_preferences(run)
    assert sorted(won(back)) == sorted(won(own))
    if kind == "label-studio":
        assert told(back) == told(own)
    if kind == "hpdv2":
        kept = [each.votes if aggregate(each.votes, len(each.images)) == each.ranks else () for each in own]
        assert [(each.ranks, each.votes) for each in back] == [(each.ranks, votes) for each, votes in zip(own, kept)]


def won(sets: Sequence[RankedSet]) -> list[Any]:
    """Every pair with a winner, by its prompt and its pictures."""
    columns = Rankings.of(sets)
    pixels = [columns.images[number].open().tobytes() for number in range(len(columns.images))]
    return [
        (columns.prompts[columns.prompt[number]], *(pixels[columns.image[member]] for member in pair))
        for number, pair in zip(*columns.pairs())
    ]


def test_pick_a_pic_has_its_columns_and_lost_data_is_counted(tmp_path: Path) -> None:
    with studied(tmp_path, ["ann", "bob"], "abc", task="ranking", n=3) as study:
        for rater in (1, 2):
            vote(study, rater, lambda prompt, _: RANKINGS[prompt][rater - 1])  # noqa: B023
        run = export(study, format="pickapic")
    (file,) = (run / "pickapic").glob("*.parquet")
    table = pq.read_table(file)
    assert table.schema.equals(SCHEMA)
    rows = [row for row in table.to_pylist() if row["caption"] == "x"]
    assert [(row["label_0"], row["label_1"]) for row in rows] == [(1.0, 0.0)] * 3
    assert all(row["best_image_uid"] == row["image_0_uid"] != row["image_1_uid"] for row in rows)
    assert [(row["model_0"], row["model_1"]) for row in rows] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert {(row["num_example_per_prompt"], row["user_id"], row["has_label"]) for row in rows} == {(3, None, True)}
    assert [row["best_image_uid"] for row in table.to_pylist() if row["caption"] == "z"] == ["tie"] * 3
    assert summary(run) == {
        "rows": 9,
        "of them ties": 3,
        "raters": 2,
        "votes merged into one result for each pair": 6,
        "seeds without a place": 9,
        "sets of more than two images, taken apart into pairs": 3,
    }


def test_label_studio_keeps_rater_time_and_that_both_were_bad(tmp_path: Path) -> None:
    with studied(tmp_path, ["ann"], prompts="x", title="A & B") as study:
        vote(study, 1, lambda *_: "both_bad")
        run = export(study, format="label-studio")
        named = export(study, format="label-studio", anonymous=False)
    (task,) = json.loads((run / "label-studio" / "tasks.json").read_text())
    (annotation,) = task["annotations"]
    assert annotation["result"][0]["value"] == {"choices": ["both_bad"]}
    assert (annotation["result"][0]["meta"], annotation["lead_time"]) == ({"rater": "rater-1"}, 1.5)
    assert "completed_by" not in annotation  # of people whom it does not know, Label Studio takes none
    served = "/data/local-files/?d=images/"
    names = {task["data"][f"image{place}"].removeprefix(served) for place in (1, 2)}
    assert (
        names == {file.name for file in (run / "label-studio" / "images").iterdir()} and task["data"]["prompt"] == "x"
    )
    assert task["meta"] == {"systems": ["a", "b"], "seeds": [7, 7]}
    assert load_preferences(named)[0].votes[0].rater == "ann"
    words = [each.get("value") for each in ElementTree.parse(run / "label-studio" / "config.xml").iter("Choice")]
    assert words == ["image1", "image2", "tie", "both_bad"]
