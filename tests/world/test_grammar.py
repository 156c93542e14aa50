from __future__ import annotations

import itertools

import pytest

from palate.world import grammar
from palate.world.grammar import Request, WorldCombination, combinations, parse_caption


@pytest.mark.parametrize("held_out", [False, True])
def test_parsing_a_caption_recovers_its_combination(held_out: bool) -> None:
    for c in combinations(held_out):
        assert parse_caption(c.caption()) == Request(c.count, c.colour, c.shape, c.background)


def test_a_fifth_of_the_combinations_is_held_out_and_both_parts_make_up_all() -> None:
    seen, unseen = set(combinations(False)), set(combinations(True))
    assert len(unseen) == 96 and len(seen) == 384
    assert not seen & unseen and seen | unseen == set(combinations())


def test_every_pair_of_attributes_of_an_unseen_prompt_is_seen_in_training() -> None:
    for first, second in itertools.combinations(("count", "colour", "shape", "background"), 2):
        seen = {(getattr(c, first), getattr(c, second)) for c in combinations(False)}
        assert {(getattr(c, first), getattr(c, second)) for c in combinations(True)} <= seen


def test_shapes_and_background_never_share_a_colour() -> None:
    assert all(c.colour != c.background for c in combinations(None, (*grammar.SHAPES, grammar.UNSAFE)))


@pytest.mark.parametrize(
    ("caption", "request_"),
    [
        ("three red stars on a blue background", Request(3, "red", "star", "blue")),
        ("a toy on a white background", Request(1, None, None, "white")),
        ("red stars on a blue background", Request(None, "red", "star", "blue")),
        ("a green circle", Request(1, "green", "circle", None)),
        ("A photo of a dog, 4k", Request()),
        ("", Request()),
    ],
)
def test_a_caption_asks_only_for_the_attributes_that_it_names(caption: str, request_: Request) -> None:
    assert parse_caption(caption) == request_


def test_one_is_singular_and_more_are_plural() -> None:
    assert WorldCombination(1, "red", "star", "blue").caption() == "one red star on a blue background"
    assert WorldCombination(4, "red", "star", "blue").caption() == "four red stars on a blue background"
