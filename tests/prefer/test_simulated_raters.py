from __future__ import annotations

import math

import numpy as np
import pytest

from palate.core.seeds import numpy_generator
from palate.prefer.simulated_raters import RATERS, SimulatedRater, simulated_ranking

ATTENTIVE = SimulatedRater("attentive", 1.0, 0.0)


def test_choices_between_two_are_bradley_terry() -> None:
    rng = numpy_generator(0, "choices")
    for gap, temperature in ((0.0, 1.0), (0.25, 0.5), (1.0, 0.5), (1.0, 1.0)):
        wins = np.mean([simulated_ranking((gap, 0.0), ATTENTIVE, rng, temperature)[0] == 1 for _ in range(6000)])
        assert wins == pytest.approx(1 / (1 + math.exp(-gap / temperature)), abs=0.02)


def test_a_clear_favourite_wins_and_ranks_have_no_gaps() -> None:
    ranks = simulated_ranking((9.0, 0.0, 4.5, 0.0), SimulatedRater("x", 1.0, 5.8), numpy_generator(0, "favourite"), 0.5)
    assert ranks[0] == 1 and ranks[2] == 2 and ranks[1] == ranks[3] == 3


def test_one_of_five_raters_is_careless() -> None:
    assert len(RATERS) == 5 and [r.name for r in RATERS if r.attention < 0.5] == ["careless"]
    rng = numpy_generator(0, "careless")
    careless = np.mean([simulated_ranking((9.0, 0.0), RATERS[-1], rng, 0.5)[0] == 1 for _ in range(4000)])
    assert careless == pytest.approx(0.3 + 0.7 / 2, abs=0.03)


def test_close_utilities_are_often_called_a_tie() -> None:
    rng = numpy_generator(0, "ties")
    ties = np.mean(
        [simulated_ranking((1.0, 1.0), SimulatedRater("x", 1.0, 1.0), rng, 0.5) == (1, 1) for _ in range(2000)]
    )
    # The difference of two Gumbels is logistic: P(|x| < 1), whatever the temperature.
    assert ties == pytest.approx(2 / (1 + math.exp(-1)) - 1, abs=0.03)
