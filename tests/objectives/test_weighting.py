import math

import pytest
import torch

from palate.diffusion.parametrization import Parametrization
from palate.diffusion.schedule import FlowSchedule, VarianceSchedule
from palate.objectives.weighting import time_weight

SNR = torch.tensor([25.0, 4.0, 0.5], dtype=torch.float64)
VARIANCE, T = VarianceSchedule(SNR / (1 + SNR)), torch.arange(3)


@pytest.mark.parametrize(
    "parametrization, expected",
    [
        (Parametrization.EPSILON, [5 / 25, 1, 1]),
        (Parametrization.SAMPLE, [5, 4, 0.5]),
        (Parametrization.V, [5 / 26, 4 / 5, 0.5 / 1.5]),
    ],
)
def test_min_snr_has_the_papers_weight_in_each_parametrization(parametrization, expected):
    assert time_weight("min_snr", VARIANCE, parametrization, T).tolist() == pytest.approx(expected, rel=1e-5)


def test_min_snr_of_velocities_is_that_of_the_clean_image():
    """The error of x_0 is sigma^2 times that of the velocity."""
    sigma = torch.tensor([0.1, 0.5, 0.9])
    snr = ((1 - sigma) / sigma) ** 2
    found = time_weight("min_snr", FlowSchedule(), Parametrization.VELOCITY, sigma)
    torch.testing.assert_close(found, snr.clamp(max=5) * sigma**2)


@pytest.mark.parametrize("kind", ["min_snr", "debiased"])
def test_weighted_errors_of_one_residual_do_not_depend_on_the_parametrization(kind):
    """A network that is wrong by the same amount in x_0 has the same weighted error, whatever it predicts."""
    x_0, wrong, eps = torch.randn(3, 3, 4, 5, 5).unbind(1)
    x_t, found = VARIANCE.add_noise(x_0, eps, T), []
    signal, noise = (of(T).view(-1, 1, 1, 1) for of in (VARIANCE.signal, VARIANCE.noise))
    for each in (Parametrization.EPSILON, Parametrization.SAMPLE, Parametrization.V):
        target = each.target(VARIANCE, x_0, eps, T)
        implied = each.target(VARIANCE, wrong, (x_t - signal * wrong) / noise, T)  # the same x_t
        error = (implied - target).square().mean((1, 2, 3))
        found.append(time_weight(kind, VARIANCE, each, T) * error)
    torch.testing.assert_close(found[0], found[1], rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(found[0], found[2], rtol=1e-3, atol=1e-5)


def test_the_others_worked_by_hand():
    assert time_weight("constant", VARIANCE, Parametrization.V, T).tolist() == [1, 1, 1]
    debiased = time_weight("debiased", VARIANCE, Parametrization.EPSILON, T)
    assert debiased.tolist() == pytest.approx([0.2, 0.5, math.sqrt(2)], rel=1e-5)
    cosmap = time_weight("cosmap", FlowSchedule(), Parametrization.VELOCITY, torch.tensor([0.0, 0.5, 1.0]))
    assert cosmap.tolist() == pytest.approx([2 / math.pi, 4 / math.pi, 2 / math.pi])


def test_pure_noise_and_clean_data_have_finite_weights():
    pure = VarianceSchedule(torch.tensor([1.0, 0.0], dtype=torch.float64))
    for kind in ("min_snr", "debiased"):
        for each in (Parametrization.EPSILON, Parametrization.V):
            weight = time_weight(kind, pure, each, torch.tensor([1]))
            assert weight.isfinite().all() and (weight >= 0).all()
        assert time_weight(kind, FlowSchedule(), Parametrization.VELOCITY, torch.tensor([0.0, 1.0])).tolist() == [0, 0]
    assert time_weight("min_snr", pure, Parametrization.EPSILON, torch.tensor([1])).item() == 1


def test_an_unknown_weighting_is_refused():
    with pytest.raises(ValueError, match="unknown weighting 'p2'; choose from constant, min_snr"):
        time_weight("p2", VARIANCE, Parametrization.V, T)  # pyright: ignore[reportArgumentType]
