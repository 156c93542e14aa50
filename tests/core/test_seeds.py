import subprocess
import sys

import numpy as np
import pytest
import torch

from palate.core.seeds import derive, numpy_generator, torch_generator


def test_a_key_gives_the_same_seed_in_every_process():
    program = "from palate.core.seeds import derive; print(derive(0, 'noise', 'sha', 3))"
    other = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert int(other.stdout) == derive(0, "noise", "sha", 3)


def test_seeds_never_change_between_versions():
    # `printf "0\x1fnoise\x1f0\x1f0" | b2sum -l 64` gives 236cc09340ad3de1: little endian, halved
    assert derive(0, "noise") == int.from_bytes(bytes.fromhex("236cc09340ad3de1"), "little") // 2


@pytest.mark.parametrize("other", [(1, "noise", 2, 3), (0, "time", 2, 3), (0, "noise", 3, 3), (0, "noise", 2, 4)])
def test_each_part_of_the_key_changes_the_seed(other):
    assert derive(*other) != derive(0, "noise", 2, 3)


def test_parts_of_the_key_do_not_run_into_each_other():
    assert derive(1, "a", 11, 1) != derive(1, "a", 1, 11)
    assert derive(1, "a1", 1) != derive(1, "a", "11")


def test_seeds_fit_what_torch_and_numpy_take():
    seeds = [derive(0, "range", item) for item in range(1000)]
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert max(seeds) > 2**62  # all 63 bits are used
    assert len(set(seeds)) == 1000


def test_generators_of_one_key_agree_and_ignore_global_state():
    torch.manual_seed(1)
    first = torch.randn(4, generator=torch_generator(0, "noise", "item"))
    torch.manual_seed(2)
    second = torch.randn(4, generator=torch_generator(0, "noise", "item"))
    assert torch.equal(first, second)
    draws = [numpy_generator(0, "noise", "item").random(4) for _ in range(2)]
    assert np.array_equal(*draws)


def test_draws_of_different_items_are_uncorrelated():
    noise = torch.stack([torch.randn(4096, generator=torch_generator(0, "noise", item)) for item in range(8)])
    off_diagonal = torch.corrcoef(noise) - torch.eye(8)
    assert off_diagonal.abs().max() < 5 / 4096**0.5  # five standard errors


def test_torch_keeps_32_bits_of_a_key_and_numpy_all_63():
    """Of 200,000 draws a few pairs share the low 32 bits of their seeds, and so the numbers of torch."""
    first: dict[int, int] = {}
    pairs: list[tuple[int, int]] = []
    for item in range(200_000):
        low = derive(0, "bits", item) & 0xFFFFFFFF
        if (other := first.setdefault(low, item)) != item:
            pairs.append((other, item))
    assert 0 < len(pairs) < 15  # 200,000^2 / 2^33 = 4.7 are to be expected
    one, other = pairs[0]
    assert derive(0, "bits", one) != derive(0, "bits", other)
    numbers = [torch.randn(4, generator=torch_generator(0, "bits", item)) for item in (one, other)]
    assert torch.equal(numbers[0], numbers[1])
    wide = [numpy_generator(0, "bits", item).random(4).tolist() for item in (one, other)]
    assert not set(wide[0]) & set(wide[1])
