"""ImageRewardDB is read in every form in which it is published."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pictures import encoded
from published import (
    embedded,
    imagereward_embedded,
    imagereward_groups,
    imagereward_lists,
    imagereward_metadata,
    imagereward_pairs,
    imagereward_parts,
    imagereward_rows,
    picture,
)

from palate.core.errors import InputError
from palate.core.runs import RunFolder
from palate.prefer.importing import ImportConfig, import_preferences
from palate.prefer.load import load_preferences
from palate.prefer.readers import imagereward
from palate.records.tally import Tally

RATED = {
    "overall_rating": (7.0, 6.0, 5.0),
    "image_text_alignment_rating": (6.0, 6.0, 6.0),
    "fidelity_rating": (5.0, 5.0, 5.0),
}


@pytest.mark.parametrize("make", [imagereward_metadata, imagereward_parts, imagereward_embedded, imagereward_groups])
def test_the_images_of_a_prompt_are_one_set_with_their_ratings(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    (one,) = load_preferences(make(tmp_path))
    assert (one.prompt, one.ranks) == ("a cat", (1, 3, 2))
    assert dict(one.scores) == RATED
    assert [image.read() for image in one.images] == [picture(number) for number in range(3)]


def test_prompts_may_alternate_and_ranks_have_gaps_and_ties(tmp_path: Path) -> None:
    cats = imagereward_rows(ranks=(2, 5, 2))
    dogs = imagereward_rows("a dog", ranks=(4, 1, 9), prompt_id="2")
    mixed = [row for pair in zip(cats, dogs) for row in pair]
    for source in (imagereward_metadata(tmp_path / "a", mixed), imagereward_parts(tmp_path / "b", mixed)):
        assert [(each.prompt, each.ranks) for each in load_preferences(source)] == [
            ("a cat", (1, 2, 1)),
            ("a dog", (2, 1, 3)),
        ]


def test_the_images_may_be_beside_the_file_of_their_part(tmp_path: Path) -> None:
    """As where an archive was unpacked alone."""
    imagereward_parts(tmp_path)
    (one,) = load_preferences(tmp_path / "images/train/train_1")
    assert [image.path and image.path.name for image in one.images] == ["0.webp", "1.webp", "2.webp"]


def test_a_rating_that_an_image_lacks_is_left_out_and_counted(tmp_path: Path) -> None:
    rows = imagereward_rows()
    rows[1]["fidelity_rating"] = None
    tally = Tally()
    (one,) = imagereward.read(imagereward_metadata(tmp_path, rows), tally)
    assert set(one.scores) == {"overall_rating", "image_text_alignment_rating"}
    assert tally.summary() == {"split": "train", "sets in which an image has no fidelity_rating": 1}


def test_a_pair_a_row_has_the_better_image_first(tmp_path: Path) -> None:
    one, two = load_preferences(imagereward_pairs(tmp_path, {}, {"img_better": embedded(2)}))
    assert (one.prompt, one.ranks, two.ranks) == ("a cat", (1, 2), (1, 2))
    assert [image.read() for image in two.images] == [picture(2), picture(1)]


def test_the_file_of_the_paper_is_read_with_gaps_in_its_ranking(tmp_path: Path) -> None:
    (one,) = load_preferences(imagereward_lists(tmp_path))
    assert one.ranks == (1, 2, 4, 3)
    assert one.images[0].path == tmp_path / "test/part-005658/images/0040/0.webp"


def test_train_is_read_and_another_split_on_request(tmp_path: Path) -> None:
    imagereward_metadata(tmp_path / "d")
    imagereward_metadata(tmp_path / "d", imagereward_rows("of the validation"), split="validation")
    assert [each.prompt for each in load_preferences(tmp_path / "d")] == ["a cat"]
    run = import_preferences(ImportConfig(source=str(tmp_path / "d"), out=tmp_path / "run", split="validation"))
    assert [each.prompt for each in load_preferences(run)] == ["of the validation"]


def test_a_prompt_with_a_single_image_is_counted(tmp_path: Path) -> None:
    tally = Tally()
    rows = [*imagereward_rows(), imagereward_rows("alone", prompt_id="9")[0]]
    assert len(list(imagereward.read(imagereward_metadata(tmp_path, rows), tally))) == 1
    assert tally.dropped["prompts with a single image"] == 1


BAD_ROWS = [
    ({"rank": float("nan")}, "row 3 of .*: the rank is NaN, not a whole number"),
    ({"rank": None}, "row 3 of .*: the rank is missing"),
    ({"rank": 0}, "row 3 of .*: the rank is 0, and must be from 1"),
    ({"rank": 1.5}, "row 3 of .*: the rank is 1.5, not a whole number"),
    ({"prompt": " "}, "row 3 of .*: the prompt is blank"),
    ({"image_path": "images/train/train_1/9.webp"}, r"row 3 of .* and the others of its prompt: .*9\.webp does not ex"),
    ({"image_path": "images/train/train_1/broken.webp"}, r"row 3 of .*: .*broken\.webp cannot be decoded"),
    ({"image_path": "images/train/train_1/1.webp"}, "row 3 of .*: images 1 and 2 are the same image"),
    ({"image_path": "../../x.webp"}, "row 3 of .*: the image_path is '../../x.webp', which is outside"),
    ({"overall_rating": float("inf")}, "row 3 of .*: the overall_rating is inf, not a finite number"),
]


@pytest.mark.parametrize("make", [imagereward_metadata, imagereward_parts])
@pytest.mark.parametrize("wrong, complaint", BAD_ROWS)
def test_a_bad_row_is_refused_by_name_or_left_out(
    tmp_path: Path, make: Callable[..., Path], wrong: dict[str, Any], complaint: str
) -> None:
    rows = [*imagereward_rows(), *imagereward_rows("a dog", ranks=(1, 2), prompt_id="2", image_amount_in_total=2)]
    for number, row in enumerate(rows):
        row["overall_rating"] = float(row["overall_rating"])
        row["rank"] = float(row["rank"]) if isinstance(wrong.get("rank"), float) else row["rank"]
        rows[number] = row | wrong if number == 3 else row
    source = make(tmp_path / "d", rows)
    (source / "images/train/train_1/broken.webp").write_bytes(encoded(size=(64, 64), kind="WEBP")[:40])
    with pytest.raises(InputError, match=complaint):
        load_preferences(source)
    run = import_preferences(ImportConfig(source=str(source), out=tmp_path / "run", skip_bad=True))
    assert [each.prompt for each in load_preferences(run)] == ["a cat"]
    assert (RunFolder(run).finished or {})["bad rows"] == 1


@pytest.mark.parametrize(
    "wrong, complaint",
    [
        ({"rank": [1, 2]}, "row 0 of .*: 2 ranks for 3 images"),
        ({"rank": [1, None, 2]}, "row 0 of .*: a rank is missing"),
        ({"image": [embedded(0), None, embedded(1)]}, r"row 0 of .*: the image .* is empty \(0 bytes\)"),
        ({"prompt": ""}, "row 0 of .*: the prompt is blank"),
    ],
)
def test_a_bad_group_is_refused_by_name(tmp_path: Path, wrong: dict[str, Any], complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        load_preferences(imagereward_groups(tmp_path, **wrong))


@pytest.mark.parametrize(
    "wrong, complaint",
    [
        ({"ranking": [1, 2, 3]}, "row 1 of .*: 3 ranks for 4 images"),
        ({"ranking": [1, 2, 3, None]}, "row 1 of .*: a rank is missing"),
        ({"generations": "a.webp"}, "row 1 of .*: the generations is 'a.webp', not a list"),
        ({"generations": []}, "row 1 of .*: the generations is .., not a list"),
        ({"prompt": None}, "row 1 of .*: the prompt is missing"),
    ],
)
def test_a_bad_row_of_lists_is_refused_by_name_or_left_out(
    tmp_path: Path, wrong: dict[str, Any], complaint: str
) -> None:
    names = [f"part-005658/images/0040/{number}.webp" for number in range(4)]
    good = {"prompt": "a cat", "generations": names, "ranking": [1, 2, 5, 3]}
    source = imagereward_lists(tmp_path, good, good | wrong, good)
    with pytest.raises(InputError, match=complaint):
        load_preferences(source)
    tally = Tally(skip_bad=True)
    assert (len(list(imagereward.read(source, tally))), len(tally.bad)) == (2, 1)


def test_the_real_rankings_of_the_paper_are_read(shared_data: Path, tmp_path: Path) -> None:
    """466 prompts, 2,720 image paths, 6,399 strict pairs; the images are not at hand, so each is a small one here."""
    import gzip
    import json

    rows = json.loads(gzip.decompress((shared_data / "ratings/imagereward_test.json.gz").read_bytes()))[:40]
    for number, row in enumerate(rows):
        for place, name in enumerate(row["generations"]):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(encoded((number, place, 0)))  # type: ignore[arg-type]
    (tmp_path / "test.json").write_text(json.dumps(rows))
    sets = load_preferences(tmp_path)
    assert [each.prompt for each in sets] == [row["prompt"] for row in rows]
    for each, row in zip(sets, rows):
        order = sorted(range(len(row["ranking"])), key=row["ranking"].__getitem__)
        assert each.ranks and list(each.ranks) == [
            sorted(set(row["ranking"])).index(rank) + 1 for rank in row["ranking"]
        ]
        assert each.ranks[order[0]] == 1
