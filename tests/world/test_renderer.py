from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from palate.core.seeds import numpy_generator, torch_generator
from palate.world.grammar import SHAPES, UNSAFE, WorldCombination
from palate.world.renderer import ANGLES, RGB, degrade, malform, profile, render_scenes, scene


def drawn(combination: WorldCombination, item: int = 0) -> torch.Tensor:
    return render_scenes([scene(combination, numpy_generator(0, "test", item))])[0]


@pytest.mark.parametrize("shape", [*SHAPES, UNSAFE])
@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_a_picture_has_as_many_separate_objects_as_its_combination_says(shape: str, count: int) -> None:
    for item in range(25):
        picture = drawn(WorldCombination(count, "red", shape, "blue"), item)
        labels, _ = ndimage.label((picture[0] > 0.5).numpy())
        assert sum(np.bincount(labels.flat)[1:] > 8) == count  # the tip of a star may come off in antialiasing


def test_objects_and_background_have_the_colours_of_the_combination() -> None:
    picture = drawn(WorldCombination(1, "yellow", "square", "purple")).flatten(1)
    corner, centre = picture[:, 0] * 255, picture[:, picture[1].argmax()] * 255
    assert (corner - torch.tensor(RGB["purple"])).abs().max() <= 12.5
    assert (centre - torch.tensor(RGB["yellow"])).abs().max() <= 12.5


@pytest.mark.parametrize("shape", SHAPES)
def test_shapes_are_about_equally_large(shape: str) -> None:
    area = (profile(shape) ** 2).sum() * np.pi / ANGLES
    assert area == pytest.approx(np.pi, rel=0.25)


def test_the_star_has_five_points_and_the_square_four_corners() -> None:
    for shape, points in (("star", 5), ("square", 4), ("triangle", 3)):
        outline = profile(shape)
        peaks = (outline > np.roll(outline, 3)) & (outline >= np.roll(outline, -3)) & (outline > outline.mean())
        assert ndimage.label(np.r_[peaks, peaks])[1] in (2 * points, 2 * points + 1)


def test_a_scene_is_the_same_in_any_batch() -> None:
    scenes = [scene(WorldCombination(n, "red", "star", "blue"), numpy_generator(0, "x", n)) for n in (1, 4, 2)]
    together = render_scenes(scenes)
    for alone, picture in zip(scenes, together, strict=True):
        assert torch.equal(render_scenes([alone])[0], picture)


@pytest.mark.parametrize("kind", ["blur", "noise", "wash"])
def test_degradation_increases_with_severity_and_is_zero_at_zero(kind: str) -> None:
    picture = drawn(WorldCombination(2, "white", "star", "green"))
    distance = [
        (degrade(picture, kind, s, torch_generator(0, "grain")) - picture).square().mean() for s in (0, 0.3, 0.6, 1)
    ]
    assert distance[0] < 1e-6
    assert distance == sorted(distance) and distance[1] > 1e-4


def test_an_unknown_degradation_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="glare.*blur, noise, wash"):
        degrade(torch.zeros(3, 64, 64), "glare", 1.0, torch_generator(0, "x"))


def test_malforming_changes_the_picture_and_names_the_attribute() -> None:
    broken = set()
    for item in range(60):
        whole = scene(WorldCombination(3, "red", "circle", "blue"), numpy_generator(0, "whole", item))
        bad, what = malform(whole, numpy_generator(0, "malform", item))
        broken.add(what)
        assert (render_scenes([whole]) - render_scenes([bad])).abs().max() > 0.1
    assert broken == {"shape", "colour", "count"}
