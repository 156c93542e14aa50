"""Feedback in columns is what its records are, from Parquet and from memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pictures import encoded, stored

from palate.core.errors import InputError
from palate.records.columns import Grades, Rankings
from palate.records.graded_image import GradedImage
from palate.records.graded_parquet import write_graded
from palate.records.image_columns import Images, first_seen
from palate.records.images import StoredImage
from palate.records.parquet import read_sets, write_sets
from palate.records.ranked import RankedSet, Vote
from palate.records.read_columns import read_grades, read_rankings

COLOURS = ("red", "green", "blue", "yellow", "white", "black")
IMAGES = [stored(colour) for colour in COLOURS]


def random_sets(count: int, seed: int = 0) -> list[RankedSet]:
    """Sets of two to five images, ranked or not, with votes or without."""
    rng, sets = np.random.default_rng(seed), []
    for number in range(count):
        n = int(rng.integers(2, 6))
        images = tuple(IMAGES[i] for i in rng.permutation(6)[:n])
        ranks = None if number % 5 == 4 else ranking(rng, n)
        votes = tuple(Vote(f"rater {i}", ranking(rng, n)) for i in range(number % 3))
        sets.append(RankedSet(f"prompt {rng.integers(4)}", images, ranks, votes))
    return sets


def ranking(rng: np.random.Generator, n: int) -> tuple[int, ...]:
    drawn = rng.integers(1, 4, n)
    return tuple((drawn - drawn.min() + 1).tolist())


def assert_same(rankings: Rankings, sets: list[RankedSet]) -> None:
    assert len(rankings) == len(sets)
    assert rankings.keys(np.arange(len(sets))) == [each.key() for each in sets]
    for number, each in enumerate(sets):
        members = range(*rankings.start[number : number + 2])
        assert rankings.prompts[rankings.prompt[number]] == each.prompt
        assert tuple(rankings.images[rankings.image[member]] for member in members) == each.images
        assert tuple(rankings.rank[member] for member in members) == (each.ranks or (0,) * len(each.images))
    votes = [(number, vote.ranks) for number, each in enumerate(sets) for vote in each.votes]
    assert rankings.voted.tolist() == [number for number, _ in votes]
    assert rankings.vote.tolist() == [rank for _, ranks in votes for rank in ranks]


@pytest.mark.parametrize("files", [1, 3])
def test_ranked_sets_of_parquet_and_of_memory_are_the_same_columns(tmp_path: Path, files: int) -> None:
    sets = random_sets(60)
    parts = np.array_split(np.arange(60), files)
    for number, part in enumerate(parts):
        write_sets([sets[i] for i in part], tmp_path / f"{number}.parquet")
    read = read_rankings(sorted(tmp_path.glob("*.parquet")))
    assert_same(read, sets)
    assert_same(Rankings.of(sets), sets)
    assert len(read.images) == len({image.digest() for each in sets for image in each.images}) == 6
    assert read.images.size.tolist() == [[8, 8]] * 6


def test_images_that_stay_where_they_are_are_found_there(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded("red"))
    write_sets([RankedSet("p", (IMAGES[1], IMAGES[2]), (1, 2))], tmp_path / "embedded.parquet")
    (inside,) = read_sets(tmp_path / "embedded.parquet")
    images = (inside.images[1], StoredImage(path=tmp_path / "a.png"), IMAGES[3], inside.images[0])
    write_sets([RankedSet("q", images, (1, 2, 3, 3)), inside], tmp_path / "places.parquet", embed=False)
    read = read_rankings([tmp_path / "places.parquet"])
    assert_same(read, [RankedSet("q", images, (1, 2, 3, 3)), inside])
    for image, colour in zip((read.images[i] for i in read.image), ("blue", "red", "yellow", "green", "green", "blue")):
        assert image.open() == stored(colour).open()
    assert [image.place.file.name if image.place else image.path for image in (read.images[i] for i in range(4))] == [
        "embedded.parquet",
        tmp_path / "a.png",
        "places.parquet",  # it was nowhere else
        "embedded.parquet",
    ]
    assert read_sets(tmp_path / "places.parquet")[0].images == images


def test_graded_images_of_parquet_and_of_memory_are_the_same_columns(tmp_path: Path) -> None:
    graded = [GradedImage(f"p{i % 2}", IMAGES[i % 3], i / 10) for i in range(7)]
    write_graded(graded, tmp_path / "a.parquet")
    write_graded(graded, tmp_path / "b.parquet", embed=False)
    for columns in (read_grades([tmp_path / "a.parquet"]), read_grades([tmp_path / "b.parquet"]), Grades.of(graded)):
        assert [*columns] == graded and len(columns.images) == 3 and columns.prompts == ["p0", "p1"]
        assert [image.open().size for image in (each.image for each in columns)] == [(8, 8)] * 7


def test_joined_grades_have_each_image_and_prompt_once(tmp_path: Path) -> None:
    first = [GradedImage("p", IMAGES[0], 0.1), GradedImage("q", IMAGES[1], 0.2)]
    second = [GradedImage("r", IMAGES[1], 0.3), GradedImage("p", IMAGES[2], 0.4)]
    write_graded(second, tmp_path / "second.parquet")
    both = Grades.of(first).joined(read_grades([tmp_path / "second.parquet"]))
    assert [*both] == [*first, *second] and len(both.images) == 3 and both.prompts == ["p", "q", "r"]
    assert [*read_grades([tmp_path / "second.parquet"]).joined(Grades.of(first))] == [*second, *first]


def test_pairs_are_those_that_a_ranking_tells_apart() -> None:
    sets = random_sets(80, seed=1)
    of_set, pair = Rankings.of(sets).pairs()
    rankings, expected = Rankings.of(sets), []
    for number, each in enumerate(sets):
        ranks, start = each.ranks or (), int(rankings.start[number])
        for i in range(len(ranks)):
            for j in range(i + 1, len(ranks)):
                if ranks[i] != ranks[j]:
                    better, worse = (i, j) if ranks[i] < ranks[j] else (j, i)
                    expected.append((number, start + better, start + worse))
    assert [(number, *members) for number, members in zip(of_set.tolist(), pair.tolist())] == expected


def test_some_of_the_sets_are_the_columns_of_those(tmp_path: Path) -> None:
    sets = random_sets(40, seed=2)
    chosen = [1, 3, 4, 17, 30, 39]
    assert_same(Rankings.of(sets).take(np.array(chosen)), [sets[number] for number in chosen])


def test_ties_and_sets_without_ranks_are_told_from_the_others() -> None:
    sets = [RankedSet("a", tuple(IMAGES[:2]), ranks) for ranks in ((1, 1), None, (2, 1))]
    rankings = Rankings.of(sets)
    assert rankings.ranked.tolist() == [True, False, True] and rankings.has_preference.tolist() == [False, False, True]
    assert [len(each) for each in Rankings.of(sets[:2]).pairs()] == [0, 0]


@pytest.mark.parametrize(
    "column, value, complaint",
    [
        ("prompt", "  ", "row 3 of .*p.parquet: a ranked set without a prompt"),
        ("prompt", None, "row 3 of .*p.parquet: a ranked set without a prompt"),
        ("ranks", [1, 2, 3], "row 3 .* 3 ranks for 2"),
        ("ranks", [2, 3], "row 3 .* must give its best image rank 1, not 2"),
        ("ranks", [0, 1], "row 3 .* must give its best image rank 1, not 0"),
        ("ranks", [], "row 3 .* 0 ranks for 2"),
        ("votes", [{"rater": "a", "ranks": [1]}], "row 3 .* 1 ranks for 2"),
        ("votes", [{"rater": "a", "ranks": [1, 2]}, {"rater": "b", "ranks": [2, 2]}], "row 3 .* rank 1, not 2"),
    ],
)
def test_rows_that_somebody_changed_are_refused_as_their_records_are(
    tmp_path: Path, column: str, value: object, complaint: str
) -> None:
    write_sets([RankedSet("p", tuple(IMAGES[:2]), (1, 2))] * 5, tmp_path / "p.parquet")
    table = pq.read_table(tmp_path / "p.parquet")
    values = table.column(column).to_pylist()
    values[3] = value
    changed = table.set_column(
        table.schema.get_field_index(column), column, pa.array(values, table.schema.field(column).type)
    )
    pq.write_table(changed, tmp_path / "p.parquet")
    with pytest.raises(InputError, match=complaint):
        read_rankings([tmp_path / "p.parquet"])


def test_a_grade_that_somebody_changed_is_refused_by_its_row(tmp_path: Path) -> None:
    write_graded([GradedImage("p", IMAGES[0], 0.5)] * 3, tmp_path / "g.parquet")
    table = pq.read_table(tmp_path / "g.parquet")
    for value in (1.5, None):
        grades = pa.array([0.5, value, 0.5], pa.float64())
        pq.write_table(table.set_column(2, "grade", grades), tmp_path / "h.parquet")
        with pytest.raises(InputError, match="row 1 of .*h.parquet: the grade"):
            read_grades([tmp_path / "h.parquet"])


def test_values_are_numbered_as_they_first_come() -> None:
    number, first = first_seen(np.array([5, 9, 5, 2, 9]))
    assert number.tolist() == [0, 1, 0, 2, 1] and first.tolist() == [0, 1, 3]
    number, first = first_seen(np.array([[1, 2], [0, 0], [1, 2]], np.uint8))
    assert number.tolist() == [0, 1, 0] and first.tolist() == [0, 1]


def test_file_order_is_that_of_files_and_rows(tmp_path: Path) -> None:
    for name in "ab":
        write_sets([RankedSet(name, tuple(IMAGES[:2]), (1, 2))] * 2, tmp_path / f"{name}.parquet")
    images = read_rankings([tmp_path / "a.parquet", tmp_path / "b.parquet"]).images
    assert images.take(np.array([1, 0])).in_file_order().tolist() == [1, 0]
    assert len(Images.of(IMAGES).in_file_order()) == 6
