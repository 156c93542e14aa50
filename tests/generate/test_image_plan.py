"""The plan gives the same seeds to every model, in a longer run and in a shorter one."""

from __future__ import annotations

import pytest

from palate.core.errors import InputError
from palate.generate.image_plan import parse_shard, plan_images


def test_a_seed_depends_on_the_prompt_and_the_image_alone() -> None:
    items = {(item.prompt, item.image_index): item.seed for item in plan_images(["a", "b", "c"], 4)}
    other = {(item.prompt, item.image_index): item.seed for item in plan_images(["c", "a"], 2)}
    assert other == {key: items[key] for key in other}


def test_seeds_differ_between_prompts_images_and_runs_and_have_32_bits() -> None:
    seeds = [item.seed for seed in (0, 1) for item in plan_images(["a", "b", "c"], 4, seed)]
    assert len(set(seeds)) == 24
    assert all(0 <= seed < 2**32 for seed in seeds)
    assert max(seeds) > 2**30


def test_an_image_has_candidates_of_other_seeds_and_is_the_first_of_them() -> None:
    for item in plan_images(["a", "b"], 3):
        candidates = [item.candidate(number) for number in range(8)]
        assert candidates[0] == item
        assert {each.file_name for each in candidates} == {item.file_name}
    seeds = [item.candidate(number).seed for item in plan_images(["a", "b"], 3) for number in range(8)]
    assert len(set(seeds)) == 48 and all(0 <= seed < 2**32 for seed in seeds)


def test_a_candidate_s_seed_depends_on_the_prompt_the_image_and_its_number_alone() -> None:
    (alone,) = plan_images(["b"], 1)
    assert plan_images(["a", "b"], 3)[3].candidate(5).seed == alone.candidate(5).seed


def test_file_names_are_distinct_and_sort_by_prompt_then_image() -> None:
    names = [item.file_name for item in plan_images([f"prompt {i}" for i in range(12)], 11)]
    assert names == sorted(set(names))


@pytest.mark.parametrize("shard, parsed", [("0/1", (0, 1)), ("0/2", (0, 2)), ("7/8", (7, 8))])
def test_a_shard_is_one_part_of_n(shard: str, parsed: tuple[int, int]) -> None:
    assert parse_shard(shard) == parsed


@pytest.mark.parametrize("shard", ["2/2", "1", "0/0", "a/b", "-1/2", "", "1/2/3"])
def test_an_invalid_shard_is_refused(shard: str) -> None:
    with pytest.raises(InputError, match="a shard must be i/n"):
        parse_shard(shard)
