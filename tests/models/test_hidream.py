"""HiDream's network is another in training mode: it returns patches, and only then its experts have gradients."""

import pytest
import torch

from palate.models.load import load_denoiser


@pytest.mark.parametrize("cells", [(8, 8), (8, 16)])
def test_its_velocity_is_the_same_in_training_mode_whatever_the_shape_of_the_picture(twins, cells):
    denoiser = load_denoiser(twins["hidream"])
    x_t = torch.randn(2, 4, *cells, generator=torch.Generator().manual_seed(0))
    t, conditioning = torch.tensor([0.3, 0.8]), denoiser.encode_prompt(["a star", None])
    with torch.no_grad():
        expected = denoiser.predict(x_t, t, conditioning)
        denoiser.network.train()
        torch.testing.assert_close(denoiser.predict(x_t, t, conditioning), expected, atol=1e-5, rtol=1e-4)


def test_its_experts_are_trained_too(twins):
    denoiser = load_denoiser(twins["hidream"], without=("vae",))
    x_t = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    denoiser.predict(x_t, torch.tensor([0.5]), denoiser.encode_prompt(["a star"])).square().mean().backward()
    experts = [weight for name, weight in denoiser.network.named_parameters() if ".experts." in name]
    assert experts and sum(weight.grad is not None for weight in experts) >= len(experts) // 2
