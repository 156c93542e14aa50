"""Parquet of Palate's own schema that somebody else wrote: what is missing in it is named, and no path leads out."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pictures import encoded, stored

from palate.core.errors import InputError
from palate.prefer.grades import load_graded
from palate.prefer.importing import ImportConfig, import_preferences
from palate.prefer.load import load_preferences, load_rankings
from palate.records.graded_image import GradedImage
from palate.records.graded_parquet import iterate_graded, schema_of_graded, write_graded
from palate.records.images import Place, StoredImage
from palate.records.parquet import has_facts, iterate_sets, read_sets, schema_of_sets, write_sets
from palate.records.parquet_io import SOURCES
from palate.records.ranked import RankedSet, Vote
from palate.records.read_columns import read_grades, read_rankings
from palate.records.tally import Tally

GOOD = RankedSet(
    "a cat", (stored("red"), stored("blue")), (1, 2), (Vote("ann", (1, 2)),), ("x", "y"), (1, 2), {"clip": (0.5, 0.25)}
)


def written(path: Path, change: Callable[[dict[str, Any]], None], places: bool = False, about: Any = None) -> Path:
    """Two ranked sets, the second with a change in its row."""
    write_sets([GOOD, GOOD], path, embed=not places)
    rows = pq.read_table(path).to_pylist()
    change(rows[1])
    schema = schema_of_sets(embed=not places).with_metadata(about)
    pq.write_table(pa.Table.from_pylist(rows, schema), path)
    return path


def put(column: str, value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda row: row.update({column: value})


VOTE, SCORE = {"rater": "ann", "ranks": [1, 2]}, {"scorer": "clip", "values": [0.5, 0.25]}
IN_RANKINGS = {
    "a missing prompt": (put("prompt", None), "the prompt is missing|set without a prompt"),
    "a missing rank": (put("ranks", [1, None]), "a rank of the ranking is missing, not a whole number"),
    "a missing best rank": (put("ranks", [None, 2]), "a rank of the ranking is missing"),
    "no rank": (put("ranks", []), "0 ranks for 2"),
    "a missing vote": (put("votes", [VOTE, None]), "a vote is missing; remove it"),
    "a vote without ranks": (put("votes", [{**VOTE, "ranks": None}]), "the vote of '.*' has no ranks"),
    "a vote that lacks a rank": (put("votes", [VOTE, {**VOTE, "ranks": [None, 1]}]), "a rank of the vote of '.*' is"),
}
IN_RECORDS = {
    "an image without a size": (lambda row: row["image_facts"][0].update(width=0), "the width of an image is 0"),
    "a missing seed": (put("seeds", [1, None]), "a seed is missing, not a whole number"),
    "a missing scorer": (put("scores", [SCORE, None]), "a scorer is missing among the scores"),
    "a scorer without a name": (put("scores", [{**SCORE, "scorer": None}]), "a scorer's name is missing, not text"),
    "no scores": (put("scores", [{**SCORE, "values": None}]), "scores 'clip' do not match the images: 0 for 2"),
    "a missing score": (put("scores", [{**SCORE, "values": [None, 1.0]}]), "a score of 'clip' is missing"),
    "a score that is not finite": (put("scores", [{**SCORE, "values": [float("nan"), 1.0]}]), "'clip' is NaN"),
    "a prompt with a NUL": (put("prompt", "a\0b"), "a NUL"),
}


@pytest.mark.parametrize("case", [*IN_RANKINGS, *IN_RECORDS])
def test_what_is_missing_in_a_row_is_named_or_skipped_and_counted(tmp_path: Path, case: str) -> None:
    change, complaint = {**IN_RANKINGS, **IN_RECORDS}[case]
    file = written(tmp_path / "p.parquet", change)
    with pytest.raises(InputError, match=rf"row 1 of .*p\.parquet: .*({complaint})"):
        read_sets(file)
    tally = Tally(skip_bad=True)
    assert (len(list(iterate_sets(file, tally))), len(tally.bad)) == (1, 1)


@pytest.mark.parametrize("case", IN_RANKINGS)
def test_what_is_missing_in_a_column_is_named(tmp_path: Path, case: str) -> None:
    change, complaint = IN_RANKINGS[case]
    with pytest.raises(InputError, match=rf"row 1 of .*p\.parquet: .*({complaint})"):
        read_rankings([written(tmp_path / "p.parquet", change)])


@pytest.mark.parametrize("size", [{"width": 0}, {"height": -3}])
def test_an_image_without_a_size_is_named_in_columns(tmp_path: Path, size: dict[str, int]) -> None:
    file = tmp_path / "p.parquet"
    write_sets([GOOD, RankedSet("q", (stored("red"), stored("green")))], file)
    rows = pq.read_table(file).to_pylist()
    rows[1]["image_facts"][1].update(size)
    pq.write_table(pa.Table.from_pylist(rows, schema_of_sets()), file)
    with pytest.raises(InputError, match=r"row 1 of .*p\.parquet: the (width|height) of an image is"):
        read_rankings([file])
    graded = tmp_path / "g.parquet"
    write_graded([GradedImage("p", stored("red"), 1.0)], graded)
    (row,) = pq.read_table(graded).to_pylist()
    row["image_facts"].update(size)
    pq.write_table(pa.Table.from_pylist([row], schema_of_graded()), graded)
    with pytest.raises(InputError, match=r"row 0 of .*g\.parquet: the (width|height) of an image is"):
        read_grades([graded])


def test_a_missing_rater_or_system_has_an_empty_name(tmp_path: Path) -> None:
    def change(row: dict[str, Any]) -> None:
        row["votes"][0]["rater"], row["systems"] = None, [None, "y"]

    read = read_sets(written(tmp_path / "p.parquet", change))[1]
    assert (read.votes, read.systems) == ((Vote("", (1, 2)),), ("", "y"))


@pytest.mark.parametrize("ranks", [(1, 2, 3), (2, 1, 1), (1, 1, 2), (3, 1, 2)])
def test_a_picture_that_is_ranked_above_itself_is_refused_in_rows_and_in_columns(
    tmp_path: Path, ranks: tuple[int, ...]
) -> None:
    twice = RankedSet("p", (stored("red"), stored("blue"), stored("red")), ranks)
    write_sets([GOOD, twice, GOOD], tmp_path / "p.parquet")
    for read in (read_sets, lambda file: read_rankings([file])):
        with pytest.raises(InputError, match=r"row 1 of .*images 1 and 3 are .*the same (picture|image)"):
            read(tmp_path / "p.parquet")
    tally = Tally(skip_bad=True)
    assert (len(list(iterate_sets(tmp_path / "p.parquet", tally))), len(tally.bad)) == (2, 1)


def test_a_picture_that_ties_with_itself_or_stands_in_two_sets_is_read(tmp_path: Path) -> None:
    tie = RankedSet("p", (stored("red"), stored("blue"), stored("red")), (2, 1, 2))
    turned = RankedSet("a cat", (stored("blue"), stored("red")), (1, 2))
    unranked = RankedSet("q", (stored("red"), stored("red")))
    sets = [GOOD, tie, turned, unranked]
    write_sets(sets, tmp_path / "p.parquet")
    assert read_sets(tmp_path / "p.parquet") == sets
    assert read_rankings([tmp_path / "p.parquet"]).rank.tolist() == [1, 2, 2, 1, 2, 1, 2, 0, 0]


OUTSIDE = pytest.mark.parametrize("name", ["/etc/hostname", "../secret.png", "a/../../secret.png"])


@OUTSIDE
def test_the_path_of_an_image_does_not_lead_out_of_the_table_s_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / "secret.png").write_bytes(encoded("red"))
    (tmp_path / "set").mkdir()
    images = [{"bytes": None, "path": name}, {"bytes": encoded("blue"), "path": None}]
    sets, graded = tmp_path / "set/p.parquet", tmp_path / "set/g.parquet"
    pq.write_table(pa.table({"prompt": ["p"], "images": [images], "ranks": [[1, 2]]}), sets)
    pq.write_table(pa.table({"prompt": ["p"], "image": images[:1], "grade": [1.0]}), graded)
    for read, file in ((load_preferences, sets), (load_rankings, sets), (load_graded, graded)):
        with pytest.raises(InputError, match="the path of an image is .* which is outside of"):
            read(file)


def to_place(file: Path | str, row: int = -1, column: str | None = None, item: int = -1) -> dict[str, Any]:
    return {"file": str(file), "row": row, "column": column, "item": item}


@pytest.mark.parametrize("place", ["secret.png", "elsewhere.parquet"])
@pytest.mark.parametrize("name", ["{}", "../{}", "set/../{}"])
def test_the_place_of_an_image_does_not_lead_out_of_the_table_s_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "secret.png").write_bytes(encoded("red"))
    write_sets([GOOD], tmp_path / "elsewhere.parquet")
    (tmp_path / "set").mkdir()
    where = to_place(name.format(tmp_path / place) if name == "{}" else name.format(place))
    if place.endswith("parquet"):
        where |= {"row": 0, "column": "images", "item": 0}
    file = written(tmp_path / "set/p.parquet", put("image_places", [where, None]), places=True)
    for read in (read_sets, load_preferences, load_rankings, lambda file: read_rankings([file])):
        with pytest.raises(InputError, match=r"p\.parquet names the image file .*, which is outside of its folders"):
            read(file)


def test_the_place_of_a_graded_image_does_not_lead_out_of_the_table_s_folder(tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(encoded("red"))
    file = tmp_path / "set/g.parquet"
    write_graded([GradedImage("p", stored("red"), 1.0)], file, embed=False)
    rows = [{**row, "image_places": to_place(tmp_path / "secret.png")} for row in pq.read_table(file).to_pylist()]
    pq.write_table(pa.Table.from_pylist(rows, schema_of_graded(embed=False)), file)
    for read in (load_graded, lambda file: read_grades([file]), lambda file: list(iterate_graded(file, Tally()))):
        with pytest.raises(InputError, match="outside of its folders"):
            read(file)


def test_what_somebody_claims_that_a_table_was_made_of_opens_no_folder(tmp_path: Path) -> None:
    (tmp_path / "private").mkdir()
    (tmp_path / "private/secret.png").write_bytes(encoded("red"))
    (tmp_path / "set").mkdir()
    change = put("image_places", [to_place(tmp_path / "private/secret.png"), None])
    about = {SOURCES: json.dumps([[str(tmp_path / "private"), "guessed"]])}
    file = written(tmp_path / "set/p.parquet", change, places=True, about=about)
    for read in (load_preferences, load_rankings):
        with pytest.raises(InputError, match="private has changed since"):
            read(file)


@pytest.mark.parametrize("claim", ["{", "7", '["a"]', '[["a", "b", "c"]]', "[[1, 2]]"])
def test_a_claim_of_another_form_is_named(tmp_path: Path, claim: str) -> None:
    file = written(tmp_path / "p.parquet", lambda row: None, about={SOURCES: claim})
    for read in (load_preferences, load_rankings):
        with pytest.raises(InputError, match=r"the metadata .* of .*p\.parquet is not as Palate writes it"):
            read(file)


def test_missing_parts_of_a_place_are_those_of_a_file_that_is_the_image(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded("red"))
    place = {"file": str(tmp_path / "a.png"), "row": None, "column": None, "item": None}
    file = written(tmp_path / "p.parquet", put("image_places", [place, None]), places=True)
    (read, columns) = read_sets(file)[1], read_rankings([file])
    assert read.images[0].open() == stored("red").open()
    assert columns.images[columns.image[2]].open() == stored("red").open()


@pytest.mark.parametrize("column, item", [("prompt", -1), ("ranks", 0), ("prompt", 0)])
def test_a_place_in_a_column_of_something_else_is_named(tmp_path: Path, column: str, item: int) -> None:
    write_sets([GOOD], tmp_path / "p.parquet")
    place = Place(tmp_path / "p.parquet", 0, column, item)
    with pytest.raises(InputError, match=r"row 0 of .*p\.parquet is no image, but|is empty"):
        StoredImage(place=place).read()


def folder_of_pairs(folder: Path) -> Path:
    folder.mkdir()
    for colour in ("red", "blue"):
        (folder / f"{colour}.png").write_bytes(encoded(colour))
    (folder / "metadata.csv").write_text("prompt,preferred,rejected\na cat,red.png,blue.png\n")
    return folder


def colours(images: Sequence[StoredImage]) -> list[Any]:
    return [image.open().getpixel((0, 0)) for image in images]


def test_an_import_in_place_is_read_though_its_images_are_elsewhere(tmp_path: Path) -> None:
    source = folder_of_pairs(tmp_path / "pairs")
    run = import_preferences(ImportConfig(source=str(source), out=tmp_path / "run", in_place=True))
    again = import_preferences(ImportConfig(source=str(run), out=tmp_path / "again", in_place=True))
    for each in (run, again):
        (only,), columns = load_preferences(each), load_rankings(each, tmp_path / "cache")
        assert colours(only.images) == colours([columns.images[0], columns.images[1]]) == [(0, 0, 255), (255, 0, 0)]
        assert only.images[1].path == source / "red.png"


def test_an_import_in_place_is_read_where_the_images_are_links_as_in_the_cache_of_a_hub(tmp_path: Path) -> None:
    source = folder_of_pairs(tmp_path / "pairs")
    (tmp_path / "blobs").mkdir()
    for number, picture in enumerate(sorted(source.glob("*.png"))):
        picture.rename(tmp_path / f"blobs/{number}")
        picture.symlink_to(tmp_path / f"blobs/{number}")
    run = import_preferences(ImportConfig(source=str(source), out=tmp_path / "run", in_place=True))
    (only,), columns = load_preferences(run), load_rankings(run, tmp_path / "cache")
    assert colours(only.images) == colours([columns.images[0], columns.images[1]]) == [(0, 0, 255), (255, 0, 0)]
    assert len(load_rankings(source, tmp_path / "cache")) == 1


def test_an_import_in_place_of_a_relative_path_is_read_from_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder_of_pairs(tmp_path / "pairs")
    monkeypatch.chdir(tmp_path)
    import_preferences(ImportConfig(source="pairs", out=Path("run"), in_place=True))
    monkeypatch.chdir("/")
    assert colours(load_preferences(tmp_path / "run")[0].images) == [(0, 0, 255), (255, 0, 0)]


def test_a_source_behind_a_link_is_indexed_and_imported_in_place(tmp_path: Path) -> None:
    """As a data folder that is linked into a project: the link's target is the same folder."""
    (tmp_path / "disk").mkdir()
    folder_of_pairs(tmp_path / "disk" / "pairs")
    (tmp_path / "data").symlink_to(tmp_path / "disk", target_is_directory=True)
    linked = tmp_path / "data" / "pairs"
    assert len(load_rankings(linked, tmp_path / "cache")) == 1
    import_preferences(ImportConfig(source=str(linked), out=tmp_path / "run", in_place=True))
    assert colours(load_preferences(tmp_path / "run")[0].images) == [(0, 0, 255), (255, 0, 0)]


def test_damaged_names_of_columns_are_damage_of_the_file(tmp_path: Path) -> None:
    write_sets([GOOD], tmp_path / "p.parquet")
    data = (tmp_path / "p.parquet").read_bytes()
    (tmp_path / "p.parquet").write_bytes(data.replace(b"image_facts", b"image\xfffacts"))
    for read in (has_facts, read_sets, load_preferences, load_rankings):
        with pytest.raises(InputError, match=r"p\.parquet cannot be read as Parquet"):
            read(tmp_path / "p.parquet")


def test_a_prompt_that_is_not_utf_8_is_damage_of_the_file(tmp_path: Path) -> None:
    write_sets([GOOD], tmp_path / "p.parquet")
    table = pq.read_table(tmp_path / "p.parquet")
    bad = pa.array([b"a \xff cat"]).cast(pa.binary()).view(pa.string())
    pq.write_table(table.set_column(0, "prompt", bad), tmp_path / "p.parquet")
    for read in (read_sets, load_rankings):
        with pytest.raises(InputError, match=r"p\.parquet cannot be read as Parquet"):
            read(tmp_path / "p.parquet")
