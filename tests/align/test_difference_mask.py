"""Masked pairs: only the places count in which two images differ."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image
from trained import lines, run

from palate.align.difference_mask import difference_mask
from palate.align.methods.dpo import DPOConfig
from palate.align.methods.listwise import ListwiseConfig
from palate.core.errors import InputError
from palate.objectives.error import mean_error
from palate.records.images import StoredImage
from palate.records.parquet import write_sets
from palate.records.ranked import RankedSet


def test_a_place_and_its_neighbours_count_where_some_channel_differs():
    latents = torch.zeros(2, 4, 5, 5)
    latents[1, 2, 0, 0] = 0.6
    mask = difference_mask(latents, 0.5)
    assert mask.mean().item() == pytest.approx(1) and mask[:2, :2].tolist() == [[6.25] * 2] * 2
    assert mask.sum().item() == pytest.approx(25) and not mask[2:].any() and not mask[:, 2:].any()


def test_images_that_do_not_differ_count_everywhere():
    assert torch.equal(difference_mask(torch.zeros(2, 4, 3, 3), 0.5), torch.ones(3, 3))


def test_a_masked_error_is_the_mean_over_the_places_that_count():
    prediction, target = torch.rand(2, 1, 4, 5, 5)
    latents = torch.zeros(2, 4, 5, 5)
    latents[0, :, 4, 4] = 1
    error = mean_error(prediction, target, difference_mask(latents, 0.5)[None])
    torch.testing.assert_close(error, (prediction - target)[..., 3:, 3:].square().mean((1, 2, 3)))


def edited(number: int) -> tuple[StoredImage, StoredImage]:
    """A noisy picture, and the same one whose corner is bright."""
    pixels = np.random.default_rng(number).integers(0, 80, (16, 16, 3)).astype(np.uint8)
    brighter = pixels.copy()
    brighter[:6, :6] += 170
    found = []
    for each in (brighter, pixels):
        buffer = io.BytesIO()
        Image.fromarray(each).save(buffer, "PNG")
        found.append(StoredImage(buffer.getvalue()))
    return found[0], found[1]


@pytest.fixture
def pairs(tmp_path):
    """A file of pairs of edited pictures; the edited one is better."""
    write_sets([RankedSet(f"{i} stars", edited(i), (1, 2)) for i in range(8)], tmp_path / "edited.parquet")
    return str(tmp_path / "edited.parquet")


@pytest.mark.parametrize("kind", [DPOConfig, ListwiseConfig])
def test_a_masked_run_learns_and_does_not_share_its_reference_with_another(config_of, pairs, tmp_path, kind):
    settings = {"preferences": pairs, "train": "full", "lr": 2e-3, "warmup": 0.1, "log_every": 1, "beta": 200.0}
    plain = run(config_of(kind, **settings, steps=1, out=tmp_path / "plain"))
    masked = run(config_of(kind, **settings, steps=40, out=tmp_path / "masked", mask=0.1))
    first = [lines(folder)[0] for folder in (plain, masked)]
    role = "winner" if kind is DPOConfig else "place_1"
    assert first[1][f"error_{role}"] == pytest.approx(first[1][f"error_ref_{role}"], rel=1e-4)
    assert first[1][f"error_{role}"] != pytest.approx(first[0][f"error_{role}"], rel=1e-3)
    accuracy = [line["accuracy"] for line in lines(masked)]
    assert np.mean(accuracy[-10:]) > 0.8


def test_sets_of_three_images_cannot_be_masked(config_of, world):
    with pytest.raises(InputError, match="mask needs sets of two images, and 4 of these 8 have more; leave it out"):
        run(config_of(ListwiseConfig, preferences=str(world["lists"]), mask=0.1))
