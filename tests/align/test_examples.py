import numpy as np
import pytest
from trained import method_of

from palate.align.methods.dpo import DPOConfig
from palate.align.methods.sft import SFTConfig
from palate.core.errors import InputError
from palate.records.columns import Grades, Rankings
from palate.records.graded_image import GradedImage
from palate.records.images import StoredImage
from palate.records.ranked import RankedSet

A, B, C = (StoredImage(name.encode()) for name in "abc")


def dpo_examples(*sets):
    return method_of(DPOConfig).examples(Rankings.of(sets))


def shown(examples):
    """The prompt and the images of each example."""
    prompts = [examples.prompts[examples.prompt[views[0]]] for views in examples.view]
    images = [tuple(examples.images[i].data.decode() for i in examples.image[views]) for views in examples.view]
    return list(zip(prompts, images))


def test_an_image_in_several_pairs_of_a_set_is_one_view():
    examples = dpo_examples(RankedSet("p", (A, B, C), (2, 1, 3)))
    assert len(examples) == 3 and len(examples.image) == 3 and len(examples.keys) == 1
    assert shown(examples) == [("p", ("b", "a")), ("p", ("a", "c")), ("p", ("b", "c"))]


def test_an_image_under_two_prompts_or_in_two_sets_is_two_views_and_one_image():
    sets = [RankedSet("p", (A, B), (1, 2)), RankedSet("q", (A, B), (1, 2)), RankedSet("p", (A, C), (1, 2))]
    examples = dpo_examples(*sets)
    assert len(examples.image) == 6 and len(examples.images) == 3 and examples.prompts == ["", "p", "q"]
    assert examples.keys == [each.key() for each in sets]


def test_two_votes_on_one_pair_share_their_key_and_views():
    twice = RankedSet("p", (A, B), (1, 2)), RankedSet("p", (B, A), (1, 2))
    examples = dpo_examples(*twice)
    assert len(examples) == 2 and len(examples.keys) == 1 and len(examples.image) == 2
    assert examples.view.tolist() == [[0, 1], [1, 0]]


def test_prompts_images_and_views_are_numbered_in_order_of_first_appearance():
    sets = [RankedSet("z", (C, A), (1, 2)), RankedSet("a", (B, C, A), (2, 1, 1)), RankedSet("z", (A, B), (2, 1))]
    examples = dpo_examples(*sets)
    assert examples.prompts == ["", "z", "a"]
    assert [examples.images[number].data for number in range(3)] == [b"c", b"a", b"b"]
    assert examples.view.tolist() == [[0, 1], [2, 3], [4, 3], [5, 6]]


def test_the_pairs_of_sets_of_many_sizes_come_set_by_set():
    rng = np.random.default_rng(0)
    images = [StoredImage(bytes([number])) for number in range(40)]
    sets = []
    for number in range(60):
        chosen = rng.permutation(40)[: rng.integers(2, 6)]
        ranks = rng.integers(1, 4, len(chosen))
        ranks = ranks - ranks.min() + 1
        sets.append(RankedSet(f"p{number % 7}", tuple(images[i] for i in chosen), tuple(ranks.tolist())))
    expected = [
        (each.prompt, each.images[i].data, each.images[j].data)
        if each.ranks[i] < each.ranks[j]
        else (each.prompt, each.images[j].data, each.images[i].data)
        for each in sets
        for i in range(len(each.images))
        for j in range(i + 1, len(each.images))
        if each.ranks[i] != each.ranks[j]
    ]
    examples = dpo_examples(*sets)
    found = [
        (examples.prompts[examples.prompt[views[0]]], *(examples.images[i].data for i in examples.image[views]))
        for views in examples.view
    ]
    assert found == expected


def test_the_first_prompt_is_the_empty_one():
    examples = dpo_examples(RankedSet("p", (A, B), (1, 2)))
    assert examples.prompts[0] == "" and examples.prompts[examples.prompt[0]] == "p"
    assert examples.weight.tolist() == [1.0]


def test_dpo_has_no_examples_of_tied_images():
    assert len(dpo_examples(RankedSet("p", (A, B, C), (1, 1, 2)))) == 2


def test_sft_has_an_example_of_every_image():
    chosen = [GradedImage("p", A, 1.0), GradedImage("q", B, 1.0)]
    assert shown(method_of(SFTConfig).examples(Grades.of(chosen))) == [("p", ("a",)), ("q", ("b",))]


def test_nothing_to_learn_from_is_refused():
    with pytest.raises(InputError, match="no image is ranked above another"):
        dpo_examples(RankedSet("p", (A, B), (1, 1)))


def test_different_examples_have_different_digests():
    first = dpo_examples(RankedSet("p", (A, B), (1, 2)))
    assert first.digest() == dpo_examples(RankedSet("p", (A, B), (1, 2))).digest()
    others = [RankedSet("q", (A, B), (1, 2)), RankedSet("p", (A, B), (2, 1)), RankedSet("p", (A, C), (1, 2))]
    assert len({first.digest(), *(dpo_examples(each).digest() for each in others)}) == 4
