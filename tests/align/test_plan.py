import numpy as np
import pytest

from palate.align.plan import TrainingPlan
from palate.diffusion.draws import Draws


def make_plan(n, batch, limit=None, seed=0):
    return TrainingPlan(Draws(tuple(f"set {i}" for i in range(n)), seed), np.arange(n), batch, limit)


def visits(plan, steps):
    examples, draws = zip(*(plan.step(step) for step in range(steps)))
    return np.concatenate(examples), np.concatenate(draws)


@pytest.mark.parametrize("n, batch", [(100, 8), (64, 8), (7, 32), (33, 1)])
def test_every_epoch_visits_every_example_once(n, batch):
    examples, _ = visits(make_plan(n, batch), 5 * n // batch + 5)
    for epoch in range(5):
        assert sorted(examples[epoch * n : (epoch + 1) * n]) == list(range(n))


def test_epochs_differ_in_order():
    examples, _ = visits(make_plan(64, 8), 16)
    assert not (examples[:64] == examples[64:]).all()


def test_draws_increase_with_the_epochs_and_restart_at_the_limit():
    assert visits(make_plan(8, 4), 6)[1].tolist() == [0] * 8 + [1] * 8 + [2] * 8
    assert visits(make_plan(8, 4, limit=2), 6)[1].tolist() == [0] * 8 + [1] * 8 + [0] * 8


def test_the_pairs_of_one_set_take_its_draws_in_turn():
    keys = np.array([0, 1, 0, 0, 1])  # two sets, of three and two pairs
    for limit, expected in ((None, 6), (4, 4)):
        plan = TrainingPlan(Draws(("a", "b"), 0), keys, 5, limit)
        examples, draws = visits(plan, 2)
        of_first = draws[keys[examples] == 0]
        assert len(of_first) == 6 and set(of_first) == set(range(expected))


def test_visits_are_the_examples_of_the_steps_by_draw():
    for limit in (None, 2):
        plan = make_plan(10, 4, limit)
        examples, draws = visits(plan, 9)
        found = plan.visits(9)
        assert len(found) == draws.max() + 1
        for draw, visited in enumerate(found):
            assert sorted(visited) == sorted(examples[draws == draw])


@pytest.mark.parametrize("n", [64, 100])
def test_every_batch_of_an_epoch_is_stratified_in_time(n):
    plan = make_plan(n, 8)
    first, _ = plan.step(0)
    u = np.sort(plan.draws.u(np.arange(n), np.zeros(n, dtype=int)))
    for step in range(n // 8):
        examples, draws = plan.step(step)
        place = np.searchsorted(u, plan.draws.u(examples, draws)) * 8 // n
        assert sorted(place) == list(range(8))
    assert len(first) == 8


def test_stratified_times_have_a_mean_of_far_smaller_variance():
    plan = make_plan(512, 16)
    means = [plan.draws.u(*plan.step(step)).mean() for step in range(32)]
    assert np.var(means) < 1 / (12 * 16) / 20  # independent times: 1 / (12 * 16)


def test_a_step_does_not_depend_on_the_steps_before_it():
    assert (make_plan(50, 8).step(20)[0] == [make_plan(50, 8).step(step) for step in range(21)][20][0]).all()
