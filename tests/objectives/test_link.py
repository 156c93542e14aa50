import math

import pytest
import torch

from palate.objectives.link import link_loss, ranked_correctly

MARGIN = torch.tensor([-2.0, 0.0, 0.5, 3.0], dtype=torch.float64)


def test_losses_worked_by_hand():
    sigmoid = [math.log(1 + math.exp(-m)) for m in MARGIN.tolist()]
    torch.testing.assert_close(link_loss(MARGIN), torch.tensor(sigmoid, dtype=torch.float64))
    assert link_loss(MARGIN, "hinge").tolist() == [3.0, 1.0, 0.5, 0.0]
    assert link_loss(MARGIN, "ipo").tolist() == [6.25, 0.25, 0.0, 6.25]


def test_ipo_has_its_minimum_where_the_paper_puts_it():
    """Azar et al. 2023: the log-ratios of winner and loser differ by 1 / (2 beta), here margin = beta x difference."""
    beta, difference = 40.0, torch.tensor([1 / 80], dtype=torch.float64)
    assert link_loss(beta * difference, "ipo").item() == pytest.approx(0, abs=1e-20)


@pytest.mark.parametrize("link", ["sigmoid", "hinge", "ipo"])
def test_smoothing_mixes_the_loss_with_that_of_the_swapped_pair(link):
    smooth = link_loss(MARGIN, link, 0.1)
    torch.testing.assert_close(smooth, 0.9 * link_loss(MARGIN, link) + 0.1 * link_loss(-MARGIN, link))


def test_a_smoothed_sigmoid_has_its_minimum_at_the_margin_that_its_noise_implies():
    """If 20% of votes are flipped, the best margin is the log-odds log(0.8 / 0.2), not infinity."""
    margin = torch.tensor([math.log(4)], dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(link_loss(margin, smoothing=0.2).sum(), margin)
    assert slope.item() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("link", ["sigmoid", "ipo"])
def test_gradient_agrees_with_finite_differences(link):
    margin = MARGIN.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda m: link_loss(m, link, 0.1), [margin])


def test_an_unknown_link_and_an_invalid_share_are_refused():
    with pytest.raises(ValueError, match="unknown link 'logistic'; choose from sigmoid, hinge, ipo"):
        link_loss(MARGIN, "logistic")  # type: ignore[arg-type]
    for share in (-0.1, 0.5):
        with pytest.raises(ValueError, match="smoothing must be at least 0 and below 0.5"):
            link_loss(MARGIN, smoothing=share)


def test_a_tie_is_half_right():
    assert ranked_correctly(MARGIN).tolist() == [0.0, 0.5, 1.0, 1.0]
