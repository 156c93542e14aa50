"""Ranked sets and their images that are kept, what is counted, and pairs of sets."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pictures import stored
from PIL import Image

from palate.cli.main import main
from palate.core.errors import InputError
from palate.core.runs import RunFolder
from palate.prefer.filtering import FilterSetsConfig, filter_sets
from palate.prefer.load import load_preferences
from palate.prefer.pair_choice import pairs_of
from palate.prefer.perceptual_hash import bits_apart, difference_hash
from palate.prefer.set_filters import agreement
from palate.records.images import StoredImage
from palate.records.parquet import write_sets
from palate.records.ranked import RankedSet, Vote, members_of

RED, GREEN, BLUE, GREY = (stored(colour) for colour in ("red", "green", "blue", "grey"))
SETS = [
    RankedSet(
        "three systems",
        (RED, GREEN, BLUE),
        (3, 1, 2),
        votes=(Vote("ann", (3, 1, 2)), Vote("bob", (3, 2, 1))),
        systems=("real", "sdxl", "turbo"),
        scores={"safety": (0.1, 0.9, 0.2)},
    ),
    RankedSet("a pair", (RED, GREY), (1, 2), votes=(Vote("ann", (1, 2)),), systems=("sdxl", "turbo")),
]


@pytest.fixture
def kept(tmp_path: Path):
    def run(sets: list[RankedSet] = SETS, **asked: Any) -> tuple[list[RankedSet], dict[str, Any]]:
        write_sets(sets, tmp_path / "sets.parquet")
        folder = filter_sets(
            FilterSetsConfig(preferences=str(tmp_path / "sets.parquet"), out=tmp_path / "out", **asked)
        )
        return load_preferences(folder), RunFolder(folder).finished or {}

    return run


def test_images_of_systems_are_kept_or_removed_and_the_rest_is_ranked_without_gaps(kept) -> None:
    (left,), summary = kept(without_systems=("sdxl",))
    assert (left.ranks, left.systems, left.scores["safety"]) == ((2, 1), ("real", "turbo"), (0.1, 0.2))
    assert left.votes == (Vote("ann", (2, 1)), Vote("bob", (2, 1)))
    assert (summary["ranked sets removed by systems"], summary["images removed by system"]) == (1, 2)


def test_only_the_named_systems_stay(kept) -> None:
    sets, _ = kept(systems=("sdxl", "turbo"))
    assert [each.systems for each in sets] == [("sdxl", "turbo"), ("sdxl", "turbo")]
    assert [each.ranks for each in sets] == [(1, 2), (1, 2)]


def test_sets_with_few_votes_are_removed(kept) -> None:
    sets, summary = kept(min_votes=2)
    assert [each.prompt for each in sets] == ["three systems"]
    assert summary["ranked sets removed by min_votes"] == 1


def test_agreement_is_the_share_of_raters_with_the_ranking_s_order_of_each_pair() -> None:
    # ann agrees on 3 of 3 pairs, bob on 2 of 3
    assert agreement(SETS[0]) == pytest.approx(5 / 6)
    tie = RankedSet("p", (RED, BLUE), (1, 2), votes=(Vote("ann", (1, 1)), Vote("bob", (2, 1))))
    assert agreement(tie) == pytest.approx(0.25)
    assert agreement(RankedSet("p", (RED, BLUE), (1, 2))) is None


def test_sets_whose_raters_disagree_are_removed(kept) -> None:
    sets, summary = kept(agreement=0.9)
    assert [each.prompt for each in sets] == ["a pair"] and summary["ranked sets removed by agreement"] == 1


def test_an_image_above_a_bound_of_the_sets_own_scores_is_left_out(kept) -> None:
    (left,), summary = kept(SETS[:1], column="safety", at_most=0.5)
    assert (left.systems, left.ranks, summary["images removed by score"]) == (("real", "turbo"), (2, 1), 1)


def test_scores_of_a_run_are_found_by_the_images_bytes(kept, tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "scores")
    run.path.mkdir()
    rows = [
        {"file_name": f"{place}.png", "prompt": "p", "sha256": image.digest(), "nsfw": place / 4}
        for place, image in enumerate((RED, GREEN, BLUE))
    ]
    (run.path / "scores.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    stats = {"higher_is_better": False, "mean": 0.2, "spread": 0.2, "lowest": 0.0, "highest": 0.5, "images": 3}
    run.finish({"scores": {"nsfw": stats}})
    asked = {"scores": run.path, "column": "nsfw", "at_most": 0.3}
    with pytest.raises(InputError, match="ranked set 2: an image of 'a pair' .* has no score 'nsfw'; --skip-bad"):
        kept(**asked)
    (left,), summary = kept(**asked, skip_bad=True)
    assert (left.ranks, summary["bad rows"]) == ((2, 1), 1)
    with pytest.raises(InputError, match="has no scores 'nsfv'; did you mean 'nsfw'"):
        kept(**{**asked, "column": "nsfv"})


def test_a_score_that_depends_on_the_prompt_is_that_of_the_set_s_prompt(kept, tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "scores")
    run.path.mkdir()
    values = {("a pair", RED): 0.9, ("a pair", GREY): 0.9, ("other", RED): 0.1, ("other", GREY): 0.9}
    rows = [
        {"file_name": "x.png", "prompt": prompt, "sha256": image.digest(), "clip:x": value}
        for (prompt, image), value in values.items()
    ]
    (run.path / "scores.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    stats = {"higher_is_better": True, "mean": 0.7, "spread": 0.4, "lowest": 0.1, "highest": 0.9, "images": 4}
    run.finish({"scores": {"clip:x": stats}})
    asked: dict[str, Any] = {"scores": run.path, "column": "clip:x", "at_least": 0.5}
    other, third = (RankedSet(prompt, (RED, GREY), (1, 2)) for prompt in ("other", "third"))
    with pytest.raises(InputError, match="ranked set 1: an image of 'third' .* has no score 'clip:x'"):
        kept([third], **asked)  # red has two scores, and neither is of this prompt
    with pytest.raises(InputError, match="is left of 1: removed 1 by score"):
        kept([other], **asked)
    assert [each.prompt for each in kept(SETS[1:], **asked)[0]] == ["a pair"]


def test_images_can_stay_where_they_are(kept, tmp_path: Path) -> None:
    (left,), _ = kept(min_votes=2, in_place=True)
    assert [image.place.file for image in left.images if image.place] == [tmp_path / "sets.parquet"] * 3
    assert (tmp_path / "out/preferences.parquet").stat().st_size < 20_000
    assert left.images[0].open().getpixel((0, 0)) == (255, 0, 0)


def picture(seed: int, side: int = 64, quality: int | None = None) -> StoredImage:
    """Soft blobs, as a JPEG of a quality or a PNG."""
    cells = np.random.default_rng(seed).integers(0, 256, (6, 6, 3)).astype(np.uint8)
    image, data = Image.fromarray(cells).resize((side, side), Image.Resampling.BICUBIC), io.BytesIO()
    image.save(data, "JPEG" if quality else "PNG", **({"quality": quality} if quality else {}))
    return StoredImage(data=data.getvalue())


def test_the_hash_of_the_same_picture_in_another_size_or_format_is_near_and_of_another_far() -> None:
    hashes = [difference_hash(picture(seed).open()) for seed in range(20)]
    again = [difference_hash(picture(seed, 96, 50).open()) for seed in range(20)]
    assert max(map(bits_apart, hashes, again)) <= 4
    assert min(bits_apart(hashes[i], hashes[j]) for i in range(20) for j in range(i)) > 12


def test_the_hash_says_which_cells_brighten_to_the_right() -> None:
    ramp = Image.fromarray(np.tile(np.arange(0, 90, 10, dtype=np.uint8), (8, 1)))
    assert difference_hash(ramp) == 2**64 - 1
    assert difference_hash(ramp.transpose(Image.Transpose.FLIP_LEFT_RIGHT)) == 0


def test_of_near_duplicates_the_best_stays_and_an_equal_set_is_removed(kept) -> None:
    copies = (picture(1), picture(1, 96, 50), picture(2))
    sets = [RankedSet("p", copies, (2, 1, 3)), RankedSet("p", copies, (1, 2, 3)), RankedSet("q", copies[:2], (1, 2))]
    (left,), summary = kept(sets, near=4)
    assert [image.digest() for image in left.images] == [copies[1].digest(), copies[2].digest()]
    assert (left.ranks, summary["ranked sets removed by duplicates"]) == ((1, 2), 2)
    assert summary["images removed as duplicates"] == 2


def test_without_a_distance_only_the_same_bytes_are_duplicates(kept) -> None:
    copies = (picture(1), picture(1), picture(1, 96, 50))
    (left,), _ = kept([RankedSet("p", copies, (1, 1, 2))], duplicates=False)
    assert left.ranks == (1, 2) and len(left.images) == 2


def test_pairs_are_all_ordered_ones_or_the_ends_or_one_at_random(kept) -> None:
    ranked = RankedSet("p", (RED, GREEN, BLUE, GREY), (2, 1, 1, 3))
    places = {image.digest(): place for place, image in enumerate(ranked.images)}

    def chosen(choice: Any, seed: int = 0) -> list[tuple[int, ...]]:
        return [tuple(places[image.digest()] for image in pair.images) for pair in pairs_of(ranked, choice, seed)]

    assert chosen("all") == [(0, 1), (0, 2), (0, 3), (1, 3), (2, 3)]
    assert {pair for seed in range(20) for pair in chosen("best-worst", seed)} == {(1, 3), (2, 3)}
    assert {pair for seed in range(60) for pair in chosen("random", seed)} == set(chosen("all"))
    assert chosen("random", 3) == chosen("random", 3) and len(chosen("random", 3)) == 1
    sets, summary = kept([ranked, RankedSet("tie", (RED, BLUE), (1, 1))], pairs="all")
    assert [each.ranks for each in sets] == [(2, 1), (2, 1), (1, 2), (1, 2), (1, 2)]
    assert summary["ranked sets removed by pairs (they order no pair)"] == 1


def test_members_keep_their_order_votes_and_scores() -> None:
    pair = members_of(SETS[0], (2, 0))
    assert (pair.systems, pair.ranks, pair.votes[1]) == (("turbo", "real"), (1, 2), Vote("bob", (1, 2)))


@pytest.mark.parametrize(
    "asked, complaint",
    [
        ({"min_votes": 3}, "no ranked set of .* is left of 2: removed 2 by min_votes"),
        ({"systems": ("real", "sdxl"), "min_votes": 3}, "left of 2: removed 1 by min_votes, 1 by systems"),
        ({"systems": ("sdxll", "turbo")}, "no image is of the system 'sdxll'; did you mean 'sdxl'"),
        ({"column": "safety", "at_most": 0.5}, "'a pair' has no scores 'safety'; give --scores"),
        ({"column": "auditor:unsafe", "at_most": 0.5}, "the auditor judges results"),
    ],
)
def test_what_leaves_nothing_or_cannot_be_applied_is_refused(kept, tmp_path: Path, asked: dict, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        kept(**asked)
    assert not (tmp_path / "out" / "summary.json").exists() and not (tmp_path / "out" / "config.yaml").exists()


@pytest.mark.parametrize(
    "asked, complaint",
    [
        ({}, "give a filter, or pairs"),
        ({"column": "safety"}, "column and at_least or at_most belong together"),
        ({"scores": Path("s"), "min_votes": 1}, "scores need a column"),
        ({"near": 64}, "near is a number of bits from 0 to 63, not 64"),
        ({"agreement": 1.5}, "agreement is a share from 0 to 1, not 1.5"),
        ({"column": "a", "at_least": 2.0, "at_most": 1.0}, "at_least must not be above at_most"),
        ({"systems": ("a",), "without_systems": ("a",)}, "'a' is in both systems and without_systems"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(asked: dict, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        FilterSetsConfig(preferences="p", out=Path("o"), **asked)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_sets(SETS, tmp_path / "sets.parquet")
    words = ["--preferences", str(tmp_path / "sets.parquet"), "--out", str(tmp_path / "out"), "--no-duplicates"]
    assert main(["prefer", "filter", *words, "--min-votes", "2", "--pairs", "best-worst"]) == 0
    assert "1 ranked sets, 2 images" in capsys.readouterr().out
