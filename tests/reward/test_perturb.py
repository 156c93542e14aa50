"""Perturbed prompts say something else, in words that the data has."""

import numpy as np
import pytest

from palate.reward.perturb import perturbed, vocabulary

PROMPTS = (
    "three red stars on a blue background",
    "two green circles on a red background",
    "A Photo of four dogs in the city",
)


def near(prompt: str, n: int = 4, others: tuple[str, ...] = PROMPTS) -> tuple[str, ...]:
    return perturbed(prompt, n, others, np.random.default_rng(0))


def test_one_word_is_another_of_its_class() -> None:
    right = PROMPTS[0].split()
    for wrong in near(PROMPTS[0], 6):
        changed = [(a, b) for a, b in zip(right, wrong.split(), strict=True) if a != b]
        assert len(changed) == 1


def test_words_come_from_the_data_where_it_has_any_of_the_class() -> None:
    known = vocabulary(PROMPTS)
    assert {"three", "two", "four", "red", "green", "blue", "star", "circle", "dog", "city"} == known
    assert not any("seven" in each or "purple" in each for each in near(PROMPTS[0], 12))


def test_a_plural_stays_one_and_case_is_read_over() -> None:
    others = {each for each in near("Four Dogs", 20, ("Four Dogs",)) if "our" in each}
    assert others and all(each.split()[1].endswith("s") for each in others)


def test_a_prompt_of_unknown_words_gets_other_prompts() -> None:
    assert set(near("an astronaut", 2)) <= set(PROMPTS)


def test_there_are_always_n_and_never_the_right_one() -> None:
    for prompt in (*PROMPTS, "an astronaut"):
        assert len(near(prompt, 7)) == 7 and prompt not in near(prompt, 7)
    assert near("alone", 3, ("alone",)) == ("", "", "")


@pytest.mark.parametrize("prompt", PROMPTS)
def test_they_are_keyed(prompt: str) -> None:
    assert near(prompt) == near(prompt)
