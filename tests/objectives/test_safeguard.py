import pytest
import torch

from palate.objectives.cpo import cpo
from palate.objectives.dpo import dpo
from palate.objectives.error import mean_error, mean_products
from palate.objectives.listwise import listwise
from palate.objectives.mapo import mapo
from palate.objectives.safeguard import loser_share, with_gradient_share


def test_shares_worked_by_hand():
    error_w, product = torch.tensor([0.2, 0.2, 0.2, 0.2]), torch.tensor([0.4, 0.1, -0.3, 0.0])
    assert loser_share(error_w, product, 0.0).tolist() == [0.5, 1.0, 1.0, 1.0]
    assert loser_share(error_w, product, 0.9).tolist() == pytest.approx([0.05, 0.2, 1.0, 1.0])


def test_the_value_stays_bit_for_bit_and_the_gradient_is_multiplied():
    value, share = torch.rand(5, requires_grad=True), torch.tensor([0.0, 0.1, 0.5, 0.7, 1.0])
    kept = with_gradient_share(value, share)
    assert torch.equal(kept, value)
    torch.testing.assert_close(torch.autograd.grad(kept.sum(), value)[0], share)


@pytest.mark.parametrize("mu", [0.0, 0.6])
@pytest.mark.parametrize("name", ["dpo", "hinge", "cpo", "mapo", "listwise"])
def test_to_first_order_the_winners_error_does_not_rise_and_falls_by_the_share_mu(name, mu):
    """Residuals are the weights themselves, minus a target: both outputs answer to the weights in the same way, and the
    loser's residual is longer and in the same direction, so without the safeguard the winner's error rises."""
    torch.manual_seed(1)
    weights = torch.randn(64, dtype=torch.float64, requires_grad=True)
    targets = torch.stack([weights.detach() - torch.randn(64), weights.detach()])
    targets[1] = weights.detach() - 3 * (weights.detach() - targets[0]) - 0.1 * torch.randn(64)

    def errors(at):
        return (at - targets).square().mean(1)[None]

    error = errors(weights)
    products = mean_products(weights.expand(2, -1)[..., None, None], targets[..., None, None], 2)
    share = loser_share(error[:, 0], products[:, 0, 1], mu)
    assert 0 < share.item() < 1

    def loss(share):
        loser = error[:, 1] if share is None else with_gradient_share(error[:, 1], share)
        base = torch.full_like(error[:, 0], 0.5)
        if name == "listwise":
            shares = None if share is None else share.view(1, 1, 1).expand(1, 2, 2)
            return listwise(error, torch.full_like(error, 0.5), torch.tensor([[1, 2]]), 3.0, share=shares)[0]
        if name == "cpo":
            return cpo(error[:, 0], loser, beta=3.0, anchor=0.0)[0]
        if name == "mapo":
            return mapo(error[:, 0], loser, beta=100.0, sharpness=1.0)[0]
        return dpo(error[:, 0], loser, base, base, beta=0.1, link="hinge" if name == "hinge" else "sigmoid")[0]

    def change(share, only_winner=False):
        value = loss(torch.zeros_like(error[:, 0]) if only_winner else share)
        (gradient,) = torch.autograd.grad(value.sum(), weights, retain_graph=True)
        with torch.no_grad():
            return ((errors(weights - 1e-7 * gradient) - error)[0, 0] / 1e-7).item()

    if name != "mapo":  # whose likelihood of the winner holds against it
        assert change(None) > 0  # as published the winner is pushed away
    assert change(share) <= 1e-4 * abs(change(None))
    if name != "mapo":  # whose winner and loser have different factors
        assert change(share) == pytest.approx(mu * change(share, only_winner=True), rel=1e-3, abs=1e-4)


def test_products_are_those_of_the_residuals_and_have_the_errors_on_their_diagonal():
    prediction, target = torch.rand(2, 6, 4, 3, 3)
    products = mean_products(prediction, target, 3)
    assert products.shape == (2, 3, 3)
    torch.testing.assert_close(products.diagonal(dim1=1, dim2=2).flatten(), mean_error(prediction, target))
    residual = prediction - target
    torch.testing.assert_close(products[1, 0, 2], (residual[3] * residual[5]).mean())
    mask = torch.rand(6, 3, 3)
    mask = mask[[0, 0, 0, 3, 3, 3]] / mask[[0, 0, 0, 3, 3, 3]].mean((1, 2), keepdim=True)
    masked = mean_products(prediction, target, 3, mask)
    torch.testing.assert_close(masked.diagonal(dim1=1, dim2=2).flatten(), mean_error(prediction, target, mask))


def test_a_list_has_one_share_for_each_pair_and_a_tied_group_its_members_least():
    torch.manual_seed(0)
    error = torch.rand(1, 3, dtype=torch.float64, requires_grad=True)
    ranks, share = torch.tensor([[1, 2, 3]]), torch.rand(1, 3, 3, dtype=torch.float64)
    beta = 4.0
    loss, _ = listwise(error, None, ranks, beta, share=share)
    plain, _ = listwise(error, None, ranks, beta)
    assert torch.equal(loss, plain)
    (found,) = torch.autograd.grad(loss.sum(), error)
    score = -beta / 2 * error.detach()[0]
    first = score.softmax(0)  # the first choice, among all three
    second = score[1:].softmax(0)  # the second, among the other two
    half = beta / 2  # a score falls by this as its error rises by one
    expected = torch.stack(
        [
            half * (1 - first[0]),
            half * ((1 - second[0]) - first[1] * share[0, 0, 1]),
            -half * (first[2] * share[0, 0, 2] + second[1] * share[0, 1, 2]),
        ]
    )
    torch.testing.assert_close(found[0], expected)
    tied = torch.tensor([[1, 1, 2]])
    loss, _ = listwise(error, None, tied, beta, share=share)
    least = share.clone()
    least[:, :2] = share[:, :2].amin(1, keepdim=True)
    same, _ = listwise(error, None, tied, beta, share=least)
    torch.testing.assert_close(torch.autograd.grad(loss.sum(), error), torch.autograd.grad(same.sum(), error))
    (kept,) = torch.autograd.grad(listwise(error, None, tied, beta, share=least)[0].sum(), error)
    (whole,) = torch.autograd.grad(listwise(error, None, tied, beta)[0].sum(), error)
    torch.testing.assert_close(kept[0, 2], whole[0, 2] * least[0, 0, 2])
