"""Bradley-Terry by hand, its limits, and Plackett-Luce at n = 2."""

import math

import pytest
import torch

from palate.objectives.bradley_terry import bradley_terry
from palate.objectives.plackett_luce import plackett_luce

NAN = math.nan


def share(p: float) -> torch.Tensor:
    return torch.tensor([[[NAN, p], [1 - p, NAN]]], dtype=torch.float64)


def score(*values: float) -> torch.Tensor:
    return torch.tensor([values], dtype=torch.float64, requires_grad=True)


@pytest.mark.parametrize("p", [0.0, 0.3, 0.5, 1.0])
def test_a_pair_worked_by_hand(p: float) -> None:
    loss, _ = bradley_terry(score(1.5, 0.5), share(p))
    first = 1 / (1 + math.exp(-1.0))
    assert loss.item() == pytest.approx(-(p * math.log(first) + (1 - p) * math.log(1 - first)))


def test_equal_scores_have_a_loss_of_log_two() -> None:
    assert bradley_terry(score(0.7, 0.7), share(1.0))[0].item() == pytest.approx(math.log(2))


def test_the_best_margin_is_the_log_odds_of_the_votes() -> None:
    at_best = score(math.log(0.8 / 0.2), 0.0)
    bradley_terry(at_best, share(0.8))[0].sum().backward()
    torch.testing.assert_close(at_best.grad, torch.zeros_like(at_best))


def test_the_gradient_of_a_tie_makes_the_scores_more_equal() -> None:
    apart = score(1.0, -1.0)
    bradley_terry(apart, share(0.5))[0].sum().backward()
    assert apart.grad is not None and apart.grad[0, 0] > 0 > apart.grad[0, 1]


def test_a_set_is_the_mean_over_its_compared_pairs() -> None:
    shares = torch.full((1, 3, 3), NAN, dtype=torch.float64)
    shares[0, 0, 1], shares[0, 1, 0] = 1.0, 0.0
    shares[0, 0, 2], shares[0, 2, 0] = 0.5, 0.5
    loss, metrics = bradley_terry(score(1.0, 0.0, 3.0), shares)
    pairs = [bradley_terry(score(1.0, other), share(p))[0].item() for other, p in ((0.0, 1.0), (3.0, 0.5))]
    assert loss.item() == pytest.approx(sum(pairs) / 2)
    assert metrics["accuracy"].value.item() == 1.0  # a tie has no winner, so it does not count


def test_unused_places_do_not_change_the_loss() -> None:
    padded = torch.full((1, 3, 3), NAN, dtype=torch.float64)
    padded[:, :2, :2] = share(1.0)
    long = score(1.0, 0.0, 7.0)
    loss, _ = bradley_terry(long, padded)
    loss.sum().backward()
    assert loss.item() == pytest.approx(bradley_terry(score(1.0, 0.0), share(1.0))[0].item())
    assert long.grad is not None and long.grad[0, 2] == 0


def test_a_set_without_comparisons_has_no_loss_and_no_accuracy() -> None:
    loss, metrics = bradley_terry(score(1.0, 0.0), share(NAN))
    assert loss.item() == 0 and not metrics["accuracy"].measured.any()


def test_the_gradient_is_the_losses() -> None:
    shares = torch.tensor([[[NAN, 0.2, 0.9], [0.8, NAN, NAN], [0.1, NAN, NAN]]], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda s: bradley_terry(s, shares)[0], score(0.3, -0.2, 1.1))


def test_two_images_in_a_list_are_a_pair() -> None:
    values = score(0.4, -1.3)
    ranks = torch.tensor([[1, 2]])
    assert plackett_luce(values, ranks)[0].item() == pytest.approx(bradley_terry(values, share(1.0))[0].item())
    losses = plackett_luce(values, ranks)[0], bradley_terry(values, share(1.0))[0]
    torch.testing.assert_close(*(torch.autograd.grad(loss.sum(), values)[0] for loss in losses))
