from __future__ import annotations

import pytest
import torch

from palate.core.seeds import numpy_generator
from palate.world.grammar import combinations
from palate.world.judges import (
    ATTRIBUTES,
    NAMES,
    Readings,
    attributes,
    build_judge,
    faithful,
    load_judge,
    save_judge,
    utility,
)
from palate.world.renderer import malform, render_scenes, scene

PROMPT = "three red stars on a blue background"


def reading(count: int | None = 3, colour="red", shape="star", background="blue", appeal: float = 1.0) -> Readings:
    return Readings((count,), (colour,), (shape,), (background,), torch.tensor([0.0]), torch.tensor([appeal]))


def test_a_picture_is_faithful_only_when_every_attribute_is_right() -> None:
    assert faithful(reading(), [PROMPT]).tolist() == [True]
    for wrong in (reading(count=2), reading(colour="green"), reading(shape="circle"), reading(background="white")):
        assert faithful(wrong, [PROMPT]).tolist() == [False]


def test_an_attribute_that_the_prompt_leaves_open_is_right_if_it_has_any_name() -> None:
    prompt = "a toy on a blue background"
    assert faithful(reading(count=1, colour="green", shape="circle"), [prompt]).tolist() == [True]
    assert not attributes(reading(count=1, shape=None), [prompt])["shape"].item()


def test_utility_is_three_for_all_right_one_for_the_share_and_two_for_appeal() -> None:
    assert utility(reading(), [PROMPT]).item() == pytest.approx(6.0)
    assert utility(reading(appeal=0.25), [PROMPT]).item() == pytest.approx(4.5)
    assert utility(reading(count=2), [PROMPT]).item() == pytest.approx(0.75 + 2.0)
    nothing = Readings((None,), (None,), (None,), (None,), torch.tensor([0.0]), torch.tensor([0.0]))
    assert utility(nothing, [PROMPT]).item() == 0


def test_the_judges_have_different_architectures() -> None:
    teacher, auditor = ({type(m).__name__ for m in build_judge(name).trunk.modules()} for name in NAMES)
    assert "_Residual" in teacher - auditor and "MultiheadAttention" in auditor - teacher


def test_a_saved_judge_answers_the_same_up_to_half_precision(tmp_path, monkeypatch) -> None:
    torch.manual_seed(0)
    judge, images = build_judge("teacher").eval(), torch.rand(3, 3, 64, 64)
    save_judge(judge, tmp_path / "teacher")
    monkeypatch.setattr("palate.world.judges.WEIGHTS", tmp_path)
    with torch.no_grad():
        before, after = judge(images), load_judge("teacher")(images)
    for name in (*ATTRIBUTES, "appeal"):
        torch.testing.assert_close(before[name], after[name], atol=1e-2, rtol=1e-2)


def test_pictures_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\[B, 3, 64, 64\], not \[1, 3, 32, 32\]"):
        build_judge("teacher").read(torch.zeros(1, 3, 32, 32))


@pytest.fixture(scope="module")
def clean() -> torch.Tensor:
    """A picture of every combination."""
    return render_scenes([scene(c, numpy_generator(99, "judge-test", i)) for i, c in enumerate(combinations())])


@pytest.fixture(scope="module")
def blobs() -> torch.Tensor:
    """Pictures whose shape is malformed, of 300 that are malformed somewhere."""
    found = []
    for i in range(300):
        whole = scene(combinations()[i], numpy_generator(98, "whole", i))
        bad, broken = malform(whole, numpy_generator(98, "malform", i))
        if broken == "shape":
            found.append(bad)
    return render_scenes(found)


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_judge_reads_clean_renders(clean, name) -> None:
    readings = load_judge(name).read(clean)
    for attribute, right in attributes(readings, [c.caption() for c in combinations()]).items():
        assert right.float().mean() >= 0.99, attribute
    assert readings.appeal.mean() > 0.9 and readings.unsafe.max() < 0.5


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_judge_calls_a_blob_none_of_these(blobs, name) -> None:
    shapes = load_judge(name).read(blobs).shape
    assert (
        shapes.count(None) / len(shapes) > 0.7
    )  # measured: 0.77 and 0.79; half-way shapes are taken for the nearer one
