"""Perturbed prompts say something else, in words that the data has."""

import numpy as np
import pytest

from palate.reward.perturb import PERMUTED, Perturbations, vocabulary

PROMPTS = (
    "three red stars on a blue background",
    "two green circles on a red background",
    "A Photo of four dogs in the city",
)


def near(prompt: str, n: int = 4, others: tuple[str, ...] = PROMPTS) -> tuple[str, ...]:
    return Perturbations(others).near(prompt, n, np.random.default_rng(0))


def test_one_word_is_replaced_by_another_of_its_class() -> None:
    right = PROMPTS[0].split()
    for wrong in near(PROMPTS[0], 6):
        changed = [(a, b) for a, b in zip(right, wrong.split(), strict=True) if a != b]
        assert len(changed) == 1


def test_words_come_from_the_data_where_it_has_any_of_the_class() -> None:
    known = vocabulary(PROMPTS)
    assert {"three", "two", "four", "red", "green", "blue", "star", "circle", "dog", "city"} == known
    assert not any("seven" in each or "purple" in each for each in near(PROMPTS[0], 12))


def test_a_plural_remains_a_plural_and_case_is_ignored() -> None:
    others = {each for each in near("Four Dogs", 20, ("Four Dogs",)) if "our" in each}
    assert others and all(each.split()[1].endswith("s") for each in others)


def test_a_prompt_of_unknown_words_gets_other_prompts() -> None:
    assert set(near("an astronaut", 2)) <= set(PROMPTS)


def test_there_are_always_n_perturbed_prompts_and_never_the_right_one() -> None:
    for prompt in (*PROMPTS, "an astronaut"):
        assert len(near(prompt, 7)) == 7 and prompt not in near(prompt, 7)
    assert near("alone", 3, ("alone",)) == ("", "", "")


@pytest.mark.parametrize("prompt", PROMPTS)
def test_perturbed_prompts_depend_only_on_the_key(prompt: str) -> None:
    assert near(prompt) == near(prompt)


def test_among_very_many_prompts_the_others_are_distinct_and_not_the_prompt_itself() -> None:
    many = [f"thing {number}" for number in range(PERMUTED + 2)]
    perturbations = Perturbations(many)
    for place in (0, 5_000, PERMUTED + 1):
        found = perturbations.near(many[place], 50, np.random.default_rng(place))
        assert len(set(found)) == 50 and many[place] not in found and set(found) <= set(many)


def test_few_prompts_are_drawn_by_a_permutation() -> None:
    """What a run learned from must not change under it: a permutation of the other prompts, in their order."""
    few = [f"thing {number}" for number in range(20)]
    order = np.random.default_rng(3).permutation(19)[:4]
    expected = tuple([each for each in few if each != "thing 7"][place] for place in order)
    generator = np.random.default_rng(3)
    assert Perturbations(few).near("thing 7", 4, generator) == expected
