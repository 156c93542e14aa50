import math

import pytest
import torch

from palate.objectives.dpo import dpo
from palate.objectives.link import link_loss
from palate.objectives.listwise import Rankers, listwise
from palate.objectives.soft_votes import soft_beta

ERRORS = [torch.tensor([value], dtype=torch.float64) for value in (0.10, 0.20, 0.12, 0.19)]


def test_margins_worked_by_hand():
    share = torch.tensor([0.5, 0.55, 0.8, 1.0, 0.2])
    assert soft_beta(2.0, share).tolist() == pytest.approx([0, 2, 12, 20, -12], abs=1e-5)
    loss, metrics = dpo(*ERRORS, beta=soft_beta(100.0, torch.tensor([0.8])))
    assert metrics["margin"].item() == pytest.approx(9.0) and loss.item() == pytest.approx(math.log1p(math.exp(-9)))


def test_labels_are_the_mean_loss_over_the_raters():
    margin, share = torch.tensor([-2.0, 0.3, 1.0]), torch.tensor([0.5, 0.8, 1.0])
    expected = share * link_loss(margin) + (1 - share) * link_loss(-margin)
    torch.testing.assert_close(link_loss(margin, smoothing=1 - share), expected)
    assert link_loss(margin, smoothing=1 - share)[2] == link_loss(margin)[2]  # a unanimous pair is DPO's


def test_labels_are_least_where_the_model_has_the_raters_share():
    margin = torch.tensor([math.log(0.8 / 0.2)], dtype=torch.float64, requires_grad=True)
    loss = link_loss(margin, smoothing=torch.tensor([0.2], dtype=torch.float64))
    assert torch.autograd.grad(loss.sum(), margin)[0].item() == pytest.approx(0, abs=1e-12)


def test_of_two_images_the_raters_of_a_list_are_the_labels_of_a_pair():
    torch.manual_seed(0)
    error, reference = torch.rand(2, 3, 2, dtype=torch.float64)
    ranks = torch.tensor([[1, 2]]).expand(3, 2)
    votes = torch.tensor([[[1, 2], [2, 1], [0, 0]]]).expand(3, 3, 2)
    weight = torch.tensor([[0.8, 0.2, 0.0], [1.0, 0.0, 0.0], [0.5, 0.5, 0.0]], dtype=torch.float64)
    loss, _ = listwise(error, reference, ranks, 7.0, 0.3, Rankers(votes, weight))
    expected, _ = dpo(*error.unbind(1), *reference.unbind(1), beta=7.0, anchor=0.3, smoothing=1 - weight[:, 0])
    torch.testing.assert_close(loss, expected)


def test_raters_of_three_images_have_the_mean_of_their_own_losses():
    torch.manual_seed(0)
    error = torch.rand(1, 3, dtype=torch.float64)
    one, other = torch.tensor([[1, 2, 3]]), torch.tensor([[2, 1, 2]])
    votes = Rankers(torch.stack([one, other], 1), torch.tensor([[0.75, 0.25]], dtype=torch.float64))
    loss, _ = listwise(error, None, one, 5.0, rankers=votes)
    each = [listwise(error, None, ranks, 5.0)[0] for ranks in (one, other)]
    torch.testing.assert_close(loss, 0.75 * each[0] + 0.25 * each[1])
