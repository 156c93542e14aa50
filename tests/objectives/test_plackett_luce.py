"""Rankings with and without ties: probabilities add up to one, true strengths are recovered, gradients are exact."""

import math
from itertools import combinations, permutations, product

import pytest
import torch

from palate.objectives.plackett_luce import plackett_luce

SCORE = torch.tensor([0.3, -1.0, 2.0, 0.7, -0.2], dtype=torch.float64)


def outcomes(n: int) -> dict[tuple[int, ...], list[tuple[int, ...]]]:
    """Every ranking of n items, by the sizes of its groups from the best on."""
    found: dict[tuple[int, ...], list[tuple[int, ...]]] = {}
    for ranks in product(range(1, n + 1), repeat=n):
        groups = sorted(set(ranks))
        if groups == list(range(1, len(groups) + 1)):
            found.setdefault(tuple(ranks.count(rank) for rank in groups), []).append(ranks)
    return found


def log_likelihood(score: torch.Tensor, *ranks: int) -> torch.Tensor:
    return -plackett_luce(score.unsqueeze(0), torch.tensor([ranks]))[0][0]


@pytest.mark.parametrize("n", [3, 4, 5])
def test_the_probabilities_of_all_rankings_with_the_same_ties_add_up_to_one(n):
    for sizes, rankings in outcomes(n).items():
        loss, _ = plackett_luce(SCORE[:n].expand(len(rankings), n), torch.tensor(rankings))
        assert (-loss).exp().sum().item() == pytest.approx(1, abs=1e-8), sizes


@pytest.mark.parametrize("ranks", [(1, 1, 2), (2, 1, 1, 3), (1, 1, 1, 2), (3, 1, 2, 2, 4), (1, 1, 1, 1, 2)])
def test_a_tie_is_the_sum_over_the_consistent_strict_rankings(ranks):
    strict = [p for p in permutations(range(1, len(ranks) + 1)) if _agree(p, ranks)]
    score = SCORE[: len(ranks)]
    each = torch.stack([log_likelihood(score, *p) for p in strict])
    assert log_likelihood(score, *ranks).item() == pytest.approx(each.logsumexp(0).item(), abs=1e-8)


def _agree(strict: tuple[int, ...], ranks: tuple[int, ...]) -> bool:
    pairs = [(i, j) for i in range(len(ranks)) for j in range(len(ranks)) if ranks[i] < ranks[j]]
    return all(strict[i] < strict[j] for i, j in pairs)


def test_two_tied_ahead_of_one_are_worked_by_hand():
    # weights 2, 1 and 3: (2/6)(1/4) + (1/6)(2/5)
    found = log_likelihood(torch.tensor([2.0, 1.0, 3.0], dtype=torch.float64).log(), 1, 1, 2)
    assert found.exp().item() == pytest.approx(2 / 6 * 1 / 4 + 1 / 6 * 2 / 5)


@pytest.mark.parametrize("sizes", [(3, 1), (2, 2), (1, 2, 1)])
def test_fitted_strengths_are_the_true_ones_whatever_ties(sizes):
    """Rankings in their true proportions, ties and all, have their greatest likelihood at the true strengths."""
    truth = torch.tensor([1.2, 0.4, -0.3, -1.3], dtype=torch.float64)
    places = [rank for rank, size in enumerate(sizes, 1) for _ in range(size)]
    share: dict[tuple[int, ...], float] = {}
    for order in permutations(range(4)):
        strict, tied = ([0] * 4, [0] * 4)
        for place, item in enumerate(order):
            strict[item], tied[item] = place + 1, places[place]
        share[tuple(tied)] = share.get(tuple(tied), 0.0) + log_likelihood(truth, *strict).exp().item()
    rankings, weight = torch.tensor(list(share)), torch.tensor(list(share.values()), dtype=torch.float64)
    fitted = torch.zeros(4, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [fitted], max_iter=500, tolerance_grad=1e-12, tolerance_change=0, line_search_fn="strong_wolfe"
    )

    def loss():
        optimizer.zero_grad()
        value = (weight * plackett_luce(fitted.expand(len(rankings), 4), rankings)[0]).sum()
        value.backward()
        return value

    optimizer.step(loss)
    torch.testing.assert_close(fitted.detach() - fitted.detach().mean(), truth, atol=1e-5, rtol=0)


def test_ties_in_other_rankings_of_a_batch_change_no_bit_of_rankings_without_ties():
    score = torch.randn(6, 5, generator=torch.Generator().manual_seed(0))
    ranks = torch.tensor([[1, 2, 3, 4, 5], [5, 1, 4, 2, 3], [2, 1, 0, 3, 0], [1, 1, 2, 3, 3], [2, 1, 1, 0, 3], [1] * 5])
    ours, plain = score.clone().requires_grad_(), score[:3].clone().requires_grad_()
    loss, _ = plackett_luce(ours, ranks)
    below = (ranks[:3].unsqueeze(1) > ranks[:3].unsqueeze(2)) & (ranks[:3] > 0).unsqueeze(2)
    itself = torch.eye(5, dtype=torch.bool)
    choices = plain.unsqueeze(1).expand_as(below).masked_fill(~(below | itself), -torch.inf)
    expected = (choices.logsumexp(2) - plain).sum(1)
    assert torch.equal(loss[:3], expected)
    gradients = torch.autograd.grad(loss.sum(), ours)[0], torch.autograd.grad(expected.sum(), plain)[0]
    assert torch.equal(gradients[0][:3], gradients[1]) and gradients[0].isfinite().all()


def test_ties_at_the_end_add_nothing_to_the_loss():
    assert log_likelihood(SCORE[:4], 1, 2, 2, 2).item() == pytest.approx(SCORE[:4].log_softmax(0)[0].item())
    assert log_likelihood(SCORE[:4], 1, 1, 1, 1).item() == 0


def test_gradient_agrees_with_finite_differences():
    ranks = torch.tensor([[1, 2, 3, 4], [1, 1, 2, 2], [2, 1, 3, 0], [1, 1, 1, 2], [2, 2, 1, 3], [1, 1, 1, 1]])
    score = torch.randn(6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()
    assert torch.autograd.gradcheck(lambda s: plackett_luce(s, ranks)[0], [score])


def test_large_groups_of_ties_are_as_exact_as_small_ones():
    # ten equal items ahead of two: one of the 12! / (10! 2!) equally likely sets
    found = log_likelihood(torch.zeros(12, dtype=torch.float64), *[1] * 10, 2, 2)
    assert found.item() == pytest.approx(-math.log(math.comb(12, 10)), abs=1e-8)
    score = 3 * torch.randn(12, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    rankings = [[2 if item in last else 1 for item in range(12)] for last in combinations(range(12), 2)]
    loss, _ = plackett_luce(score.expand(len(rankings), 12), torch.tensor(rankings))
    assert (-loss).exp().sum().item() == pytest.approx(1, abs=1e-8)


@pytest.mark.parametrize("spread", [0.3, 2.0, 6.0])
def test_probabilities_equal_the_sum_over_all_orders_to_a_relative_1e_8(spread):
    generator = torch.Generator().manual_seed(4)
    for _ in range(5):
        score = spread * torch.randn(6, dtype=torch.float64, generator=generator)
        each = torch.stack([log_likelihood(score, *order, 6) for order in permutations(range(1, 6))])
        assert log_likelihood(score, 1, 1, 1, 1, 1, 2).item() == pytest.approx(each.logsumexp(0).item(), abs=1e-8)


def test_extreme_scores_do_not_overflow():
    score = torch.tensor([[5000.0, 0.0, 9000.0, 3.0]], requires_grad=True)
    loss, _ = plackett_luce(score, torch.tensor([[1, 1, 2, 2]]))
    loss.sum().backward()
    assert loss.item() == pytest.approx(13000 - math.log(2), rel=1e-6)  # either order costs 4000 + 9000
    assert score.grad is not None and score.grad.isfinite().all()
