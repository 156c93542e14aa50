import numpy as np
import torch
from scipy import stats

from palate.diffusion.draws import Draws

KEYS = tuple(f"set {i}" for i in range(500))
EVERY = np.arange(500)


def test_equal_keys_at_equal_draws_share_time_noise_and_dropout():
    draws = Draws(KEYS, seed=0, dropout=0.5)
    key, draw = np.array([3, 7, 3, 3]), np.array([1, 1, 1, 2])
    noise, u, dropped = draws.noise(key, draw, (4, 2, 2)), draws.u(key, draw), draws.dropped(key, draw)
    assert torch.equal(noise[0], noise[2]) and u[0] == u[2] and dropped[0] == dropped[2]
    assert not torch.equal(noise[0], noise[1]) and not torch.equal(noise[0], noise[3]) and u[0] != u[3]


def test_a_draw_does_not_depend_on_its_batch():
    whole = Draws(KEYS, 0, 0.5)
    alone = Draws(KEYS, 0, 0.5)
    draw = EVERY % 3
    assert torch.equal(whole.noise(EVERY, draw, (2,))[123:124], alone.noise(EVERY[123:124], draw[123:124], (2,)))
    assert whole.dropped(EVERY, draw)[123] == alone.dropped(EVERY[123:124], draw[123:124])[0]


def test_another_order_of_keys_gives_each_key_the_same_draw():
    forward, backward = Draws(KEYS, 0, 0.5), Draws(KEYS[::-1], 0, 0.5)
    key, draw = np.array([0, 499]), np.array([2, 2])
    assert torch.equal(forward.noise(key, draw, (3,)), backward.noise(key[::-1], draw, (3,)))
    assert (forward.u(key, draw) == backward.u(key[::-1], draw)).all()


def test_different_seeds_and_purposes_have_different_draws():
    first, second = Draws(KEYS, 0), Draws(KEYS, 1)
    zero = np.zeros(500, dtype=int)
    assert not np.isclose(first.u(EVERY, zero), second.u(EVERY, zero)).any()
    assert not torch.isclose(first.noise(EVERY, zero, (1,)), second.noise(EVERY, zero, (1,)), atol=1e-6).any()


def test_times_are_uniform_within_each_draw():
    draws = Draws(KEYS, 0)
    for draw in (0, 1, 7):
        assert stats.kstest(draws.u(EVERY, np.full(500, draw)), "uniform").pvalue > 0.01


def test_the_draws_of_one_key_cover_the_times_evenly():
    u = np.sort(Draws(KEYS, 0).u(np.zeros(8, dtype=int), np.arange(8)))
    gaps = np.diff(np.append(u, u[0] + 1))
    assert gaps.max() < 0.25  # three-distance theorem; eight independent draws leave a gap that wide in most cases


def test_noise_is_standard_normal():
    noise = Draws(KEYS, 0).noise(EVERY, np.zeros(500, dtype=int), (4, 4))
    assert stats.kstest(noise.numpy().ravel(), "norm").pvalue > 0.01


def test_dropout_drops_its_share():
    dropped = Draws(KEYS, 0, dropout=0.2).dropped(EVERY, np.zeros(500, dtype=int))
    assert stats.binomtest(int(dropped.sum()), 500, 0.2).pvalue > 0.01
    assert not Draws(KEYS, 0, dropout=0.0).dropped(EVERY, EVERY).any()
    assert Draws(KEYS, 0, dropout=1.0).dropped(EVERY, EVERY).all()
