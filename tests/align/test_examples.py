import pytest
from trained import method_of

from palate.align.examples import Example, Examples
from palate.align.methods.dpo import DPOConfig
from palate.align.methods.sft import SFTConfig
from palate.core.errors import InputError
from palate.records.graded import GradedImage
from palate.records.images import StoredImage
from palate.records.ranked import RankedSet

A, B, C = (StoredImage(name.encode()) for name in "abc")


def test_an_image_in_several_pairs_of_a_set_is_one_view():
    examples = Examples.of(method_of(DPOConfig).examples([RankedSet("p", (A, B, C), (2, 1, 3))]))
    assert len(examples) == 3 and len(examples.image) == 3 and len(examples.keys) == 1
    pairs = {tuple(examples.images[i].data for i in examples.image[views]) for views in examples.view}
    assert pairs == {(b"b", b"a"), (b"b", b"c"), (b"a", b"c")}


def test_an_image_under_two_prompts_or_in_two_sets_is_two_views_and_one_image():
    sets = [RankedSet("p", (A, B), (1, 2)), RankedSet("q", (A, B), (1, 2)), RankedSet("p", (A, C), (1, 2))]
    examples = Examples.of(method_of(DPOConfig).examples(sets))
    assert len(examples.image) == 6 and len(examples.images) == 3 and examples.prompts == ("", "p", "q")


def test_the_first_prompt_is_the_empty_one():
    examples = Examples.of([Example("p", (A, B), "k", 0.5)])
    assert examples.prompts[0] == "" and examples.prompts[examples.prompt[0]] == "p"
    assert examples.weight.tolist() == [0.5]


def test_ties_teach_dpo_nothing():
    assert len(method_of(DPOConfig).examples([RankedSet("p", (A, B, C), (1, 1, 2))])) == 2


def test_sft_learns_every_image_that_it_is_given():
    chosen = [GradedImage("p", A, 1.0), GradedImage("q", B, 1.0)]
    assert [(e.prompt, e.images) for e in method_of(SFTConfig).examples(chosen)] == [("p", (A,)), ("q", (B,))]


def test_nothing_to_learn_from_is_refused():
    with pytest.raises(InputError, match="no image is ranked above another"):
        Examples.of(method_of(DPOConfig).examples([RankedSet("p", (A, B), (1, 1))]))
