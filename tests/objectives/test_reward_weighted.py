import torch

from palate.objectives.reward_weighted import reward_weighted

ERROR = torch.tensor([0.2, 0.2, 0.2])
REWARD, REAL = torch.tensor([1.0, 0.25, 0.9]), torch.tensor([False, False, True])


def test_generated_images_are_weighted_by_their_reward_and_real_ones_by_beta():
    loss, metrics = reward_weighted(ERROR, REWARD, REAL, beta=2.0)
    torch.testing.assert_close(loss, torch.tensor([0.2, 0.05, 0.4]))
    assert metrics == {}


def test_without_real_images_and_with_rewards_of_one_it_is_fine_tuning():
    torch.testing.assert_close(reward_weighted(ERROR, torch.ones(3), torch.zeros(3).bool(), 1.0)[0], ERROR)


def test_an_image_of_reward_zero_has_no_gradient():
    error = ERROR.clone().requires_grad_()
    loss, _ = reward_weighted(error, torch.zeros(3), REAL, beta=0.5)
    assert torch.autograd.grad(loss.sum(), error)[0].tolist() == [0.0, 0.0, 0.5]
