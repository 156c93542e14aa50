import pytest
import torch
from diffusers import DDIMScheduler, FlowMatchEulerDiscreteScheduler

from palate.diffusion.schedule import FlowSchedule, VarianceSchedule, broadcast

X_0 = torch.randn(3, 4, 2, 2, generator=torch.Generator().manual_seed(0))
EPS = torch.randn(3, 4, 2, 2, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def ddim():
    return DDIMScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012)


def test_variance_schedule_adds_noise_as_the_diffusers_scheduler_does(ddim):
    t = torch.tensor([0, 500, 999])
    ours = VarianceSchedule(ddim.alphas_cumprod).add_noise(X_0, EPS, t)
    torch.testing.assert_close(ours, ddim.add_noise(X_0, EPS, t))


def test_flow_schedule_adds_noise_as_the_diffusers_scheduler_does():
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
    sigma = scheduler.sigmas[torch.tensor([0, 400, 900])]
    ours = FlowSchedule(3.0).add_noise(X_0, EPS, sigma)
    torch.testing.assert_close(ours, scheduler.scale_noise(X_0, sigma * 1000, EPS))


def test_t_zero_is_the_clean_end(ddim):
    schedule = VarianceSchedule(ddim.alphas_cumprod)
    signal = schedule.signal(torch.arange(1000))
    assert (signal.diff() < 0).all() and signal[0] > 0.999
    assert torch.equal(FlowSchedule(3.0).add_noise(X_0, EPS, torch.zeros(3)), X_0)
    assert torch.equal(FlowSchedule(3.0).add_noise(X_0, EPS, torch.ones(3)), EPS)


def test_signal_and_noise_preserve_variance(ddim):
    schedule, t = VarianceSchedule(ddim.alphas_cumprod), torch.arange(1000)
    torch.testing.assert_close(schedule.signal(t) ** 2 + schedule.noise(t) ** 2, torch.ones(1000))


def test_variance_schedule_visits_every_timestep_equally(ddim):
    t = VarianceSchedule(ddim.alphas_cumprod).sample_t((torch.arange(4000, dtype=torch.float64) + 0.5) / 4000)
    assert torch.equal(t.bincount(), torch.full((1000,), 4))


def test_a_schedule_of_few_steps_visits_these_alone_and_equally(ddim):
    schedule = VarianceSchedule.of_few_steps(ddim.alphas_cumprod, (249, 499, 749, 999))
    t = schedule.sample_t((torch.arange(8, dtype=torch.float64) + 0.5) / 8)
    assert t.tolist() == [249, 249, 499, 499, 749, 749, 999, 999]


def test_a_schedule_of_few_steps_with_the_last_has_pure_noise_there_as_diffusers_rescales_it(ddim):
    zero = DDIMScheduler(
        beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, rescale_betas_zero_snr=True
    ).alphas_cumprod
    found = VarianceSchedule.of_few_steps(ddim.alphas_cumprod, (249, 999))
    torch.testing.assert_close(found.alphas_cumprod, zero, atol=1e-6, rtol=1e-5)
    assert torch.equal(found.add_noise(X_0, EPS, torch.tensor([999] * 3)), EPS)
    without = VarianceSchedule.of_few_steps(ddim.alphas_cumprod, (249, 499))
    assert torch.equal(without.alphas_cumprod, ddim.alphas_cumprod)


def test_flow_schedule_visits_shifted_logit_normal_sigmas():
    sigma = FlowSchedule(shift=3.0).sample_t(torch.tensor([0.5, 0.841344746, 0.158655254], dtype=torch.float64))
    # The median and one deviation to either side: sigmoid(0, 1, -1) = 1/2, 0.7310586, 0.2689414; then 3s / (1 + 2s).
    torch.testing.assert_close(sigma, torch.tensor([0.75, 0.8907682, 0.5246330]), atol=1e-6, rtol=0)


def test_sampled_times_are_a_batch_and_stay_in_range():
    u = torch.tensor([0.0, 1 - 2**-53], dtype=torch.float64)
    assert VarianceSchedule(torch.linspace(0.99, 0.01, 1000)).sample_t(u).tolist() == [0, 999]
    sigma = FlowSchedule(3.0).sample_t(u)
    assert sigma.shape == (2,) and sigma.min() >= 0 and sigma.max() <= 1


def test_broadcast_appends_axes_to_the_batch():
    assert broadcast(torch.ones(3), X_0).shape == (3, 1, 1, 1)
