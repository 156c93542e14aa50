"""Whether numbers are finite, of everything that a stage holds them in."""

import math

import numpy
import pytest
import torch

from palate.core.errors import InputError
from palate.core.finite import NotFiniteError, all_finite, find_not_finite, require_finite


@pytest.mark.parametrize(
    "values",
    [
        0.5,
        3,
        True,
        [],
        [1.0, 2.0],
        (0, 1),
        numpy.zeros((2, 3)),
        numpy.array([1, 2]),
        torch.zeros(2, 3),
        torch.zeros(0),
        torch.tensor(1.0),
        torch.tensor([1, 2]),
        torch.tensor([True]),
        torch.zeros(3, dtype=torch.bfloat16),
        torch.zeros(3, dtype=torch.float8_e4m3fn),
        torch.full((4,), 65504.0, dtype=torch.float16),  # its largest: a sum would overflow
        {"a": torch.zeros(1), "b": [1.0], "c": 2.0},
        {},
    ],
)
def test_finite_numbers_of_every_kind_are_finite(values: object) -> None:
    assert all_finite(values)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(
    "make",
    [
        lambda bad: bad,
        lambda bad: [0.0, bad],
        lambda bad: numpy.array([[0.0, bad]]),
        lambda bad: numpy.float32(bad),
        lambda bad: torch.tensor(bad),
        lambda bad: torch.tensor([[0.0], [bad]]),
        lambda bad: torch.tensor([0.0, bad], dtype=torch.bfloat16),
        lambda bad: torch.nn.Parameter(torch.tensor([bad])),
        lambda bad: {"fine": 0.0, "bad": torch.tensor([bad])},
    ],
)
def test_one_number_that_is_not_finite_is_found(make: object, bad: float) -> None:
    assert not all_finite(make(bad))  # pyright: ignore[reportCallIssue]


def test_nan_among_eight_bit_floats_is_found() -> None:
    assert not all_finite(torch.tensor([1.0, math.nan]).to(torch.float8_e4m3fn))


def test_the_finding_names_the_tensor_the_count_and_the_first_place() -> None:
    values = torch.zeros(2, 3)
    values[1, 0] = values[1, 2] = math.nan
    found = find_not_finite({"fine": torch.ones(2), "head.weight": values})
    assert found == "'head.weight': 2 of 6 values, the first at [1, 0] (nan)"


def test_a_refusal_says_what_where_and_what_to_do() -> None:
    with pytest.raises(NotFiniteError) as caught:
        require_finite("the loss", math.inf, where="step 12", fix="give a lower --lr")
    assert str(caught.value) == "the loss: not finite at step 12: inf; give a lower --lr"


def test_a_refusal_is_of_the_class_that_was_asked_for() -> None:
    with pytest.raises(InputError, match="the reward's head: not finite: 1 of 2 values"):
        require_finite("the reward's head", [1.0, math.nan], error=InputError)


def test_finite_numbers_pass() -> None:
    require_finite("the scores", {"a": [1.0], "b": torch.zeros(3)})
