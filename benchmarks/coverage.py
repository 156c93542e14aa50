"""Measures how often the 95% intervals of `palate.core.statistics` contain the true value, in simulated evaluations.

    python benchmarks/coverage.py [--quick] [--all] [--seed 0]

For each kind of estimate, experiments with a known true value are simulated: 6 to 400 prompts, 1 to 4 images per
prompt, correlated or independent images of one prompt, rates up to 0.99, ties up to 80%, and skewed values up to a
lognormal distribution. The table has, by number of prompts, the lowest, mean and highest coverage over all conditions,
the condition of the lowest, and how often there is no interval ("unknown", which counts as covering, because it states
nothing false). `--all` prints every condition, and the share of experiments in which the whole interval is below or
above the true value.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from scipy import special, stats

from palate.core.intervals import Ends, bounded, moments, studentised
from palate.core.seeds import numpy_generator

PROMPTS = (6, 10, 20, 50, 100, 400)
QUICK = (6, 20, 100)
EXPERIMENTS, RESAMPLES = 2000, 1999
AT_ONCE = 2**22  # numbers in memory at once

Draw = Callable[[np.random.Generator, int, int], np.ndarray]


@dataclass(frozen=True)
class Condition:
    """A kind of experiment with a known true value.

    Attributes:
        of: the estimate.
        name: the condition in words.
        truth: the true value.
        draw: from a generator, a number of experiments and of prompts: outcomes [E, P, N], or [2, E, P] of a ratio.
    """

    of: str
    name: str
    truth: float
    draw: Draw


@dataclass(frozen=True)
class Found:
    """Shares of the experiments; `below` and `above` are those in which the true value is outside of the interval."""

    condition: Condition
    prompts: int
    below: float
    above: float
    unknown: float

    @property
    def covered(self) -> float:
        """The share of the experiments in which the interval is unknown or contains the true value."""
        return 1 - self.below - self.above


def alike(rng: np.random.Generator, shape: tuple[int, int, int], rho: float) -> np.ndarray:
    """Standard normal [E, P, N] with the correlation rho between the images of a prompt."""
    experiments, prompts, images = shape
    common = np.sqrt(rho) * rng.standard_normal((experiments, prompts, 1))
    return common + np.sqrt(1 - rho) * rng.standard_normal((experiments, prompts, images))


def images_and_likeness() -> list[tuple[int, float]]:
    """The number of images per prompt, and the correlation of a prompt's images."""
    return [(1, 0.0), *product((2, 4), (0.0, 0.3, 0.7))]


def rates() -> Iterator[Condition]:
    """Each image is right or wrong."""
    for rate, (n, rho) in product((0.5, 0.7, 0.9, 0.95, 0.99), images_and_likeness()):

        def draw(rng, experiments, prompts, rate=rate, n=n, rho=rho):
            return 2.0 * (alike(rng, (experiments, prompts, n), rho) < special.ndtri(rate)) - 1

        yield Condition("rate", f"rate {rate}, {n} images, alike {rho}", 2 * rate - 1, draw)


def win_rates() -> Iterator[Condition]:
    """Each pair is won, tied or lost."""
    for rate, ties, (n, rho) in product((0.5, 0.6, 0.75, 0.9), (0.0, 0.2, 0.5, 0.8), images_and_likeness()):
        if rate + ties / 2 > 1:
            continue
        won = rate - ties / 2

        def draw(rng, experiments, prompts, won=won, ties=ties, n=n, rho=rho):
            u = special.ndtr(alike(rng, (experiments, prompts, n), rho))
            return (u < won) * 1.0 - (u > won + ties)

        yield Condition("win rate", f"rate {rate}, ties {ties}, {n} images, alike {rho}", 2 * rate - 1, draw)


PAIRS = ((0.5, 0.5), (0.5, 0.8), (0.8, 0.9), (0.9, 0.9), (0.967, 0.988), (0.99, 0.99))
LIKENESS = ((0.0, 0.0), (0.3, 0.3), (0.6, 0.3))  # of a prompt's images, and of the two images of a pair beyond that


def rate_differences() -> Iterator[Condition]:
    """Both images of a pair are right or wrong; they are correlated through their prompt and seed."""
    for (before, after), (rho, pair), n in product(PAIRS, LIKENESS, (1, 2, 4)):

        def draw(rng, experiments, prompts, before=before, after=after, rho=rho, pair=pair, n=n):
            base, aligned = _twins(rng, (experiments, prompts, n), rho, pair)
            return (aligned < special.ndtri(after)) * 1.0 - (base < special.ndtri(before))

        name = f"{before} to {after}, {n} images, alike {rho} and {pair}"
        yield Condition("difference of rates", name, after - before, draw)


def gaps() -> Iterator[Condition]:
    """Two judges read the same pairs; the other one takes some wrong images of the aligned model for right."""
    for (before, after), flattered, (n, rho) in product(PAIRS, (0.0, 0.1, 0.3), ((1, 0.3), (4, 0.3), (4, 0.6))):

        def draw(rng, experiments, prompts, before=before, after=after, flattered=flattered, n=n, rho=rho):
            shape = (experiments, prompts, n)
            base, aligned = _twins(rng, shape, rho, 0.3)
            base, aligned = base < special.ndtri(before), aligned < special.ndtri(after)
            slips = [rng.random(shape) < 0.03 for _ in range(2)]
            gain = (aligned ^ slips[0]) * 1.0 - (base ^ slips[1])
            return ((aligned | (rng.random(shape) < flattered)) * 1.0 - base - gain) / 2

        mistaken = 0.03 * ((1 - 2 * after) - (1 - 2 * before))  # the reported judge's mean error of the gain
        name = f"{before} to {after}, flattered {flattered}, {n} images, alike {rho}"
        yield Condition("gap of rates", name, ((1 - after) * flattered - mistaken) / 2, draw)


def _twins(rng: np.random.Generator, shape: tuple[int, int, int], rho: float, pair: float) -> list[np.ndarray]:
    common = np.sqrt(rho) * rng.standard_normal((*shape[:2], 1)) + np.sqrt(pair) * rng.standard_normal(shape)
    return [common + np.sqrt(1 - rho - pair) * rng.standard_normal(shape) for _ in range(2)]


@dataclass(frozen=True)
class Values:
    """A distribution: its values for standard normal numbers z, its mean, its skewness for the reader."""

    name: str
    mean: float
    of: Callable[[np.ndarray], np.ndarray]


VALUES = (
    Values("normal", 0.0, lambda z: z),
    Values("heavy tails (Student's t, 3)", 0.0, lambda z: stats.t.ppf(special.ndtr(z), 3)),
    Values("half zero, else normal", 0.0, lambda z: np.where(np.abs(z) < special.ndtri(0.75), 0, z)),
    Values("ceiling (beta 9, 0.6; skewness -1.8)", 9 / 9.6, lambda z: special.betaincinv(9, 0.6, special.ndtr(z))),
    Values("exponential (skewness 2)", 1.0, lambda z: -special.log_ndtr(-z)),
    Values("gamma 0.5 (skewness 2.8)", 0.5, lambda z: special.gammaincinv(0.5, special.ndtr(z))),
    Values("lognormal (skewness 6.2)", np.exp(0.5), np.exp),
    Values("80% zero, else exponential", 0.2, lambda z: np.maximum(0, -special.log_ndtr(-z) + np.log(0.2))),
)


def means() -> Iterator[Condition]:
    """Scores, or differences of scores."""
    for values, (n, rho) in product(VALUES, ((1, 0.0), (4, 0.3), (4, 0.8))):

        def draw(rng, experiments, prompts, values=values, n=n, rho=rho):
            return values.of(alike(rng, (experiments, prompts, n), rho))

        yield Condition("mean", f"{values.name}, {n} images, alike {rho}", values.mean, draw)


def ratios() -> Iterator[Condition]:
    """One positive value per prompt and model, such as diversity."""
    for spread, other, correlation in ((0.3, 0.3, 0.6), (0.5, 0.5, 0.0), (0.8, 0.8, 0.6), (0.3, 1.0, 0.6)):

        def draw(rng, experiments, prompts, spread=spread, other=other, correlation=correlation):
            z = rng.standard_normal((2, experiments, prompts))
            again = correlation * z[0] + np.sqrt(1 - correlation**2) * z[1]
            return np.stack([np.exp(spread * z[0]), 0.9 * np.exp(other * again)])

        truth = 0.9 * np.exp((other**2 - spread**2) / 2)
        yield Condition("ratio", f"lognormal, deviations {spread} and {other}, correlation {correlation}", truth, draw)


def interval(condition: Condition, drawn: np.ndarray, rng: np.random.Generator) -> Ends:
    """The ends [E] of the estimate's interval."""
    if condition.of not in ("mean", "ratio"):
        return bounded(moments(drawn))
    aligned = drawn[1] if condition.of == "ratio" else drawn.mean(-1)
    base = drawn[0] if condition.of == "ratio" else np.ones_like(aligned)
    prompts = base.shape[-1]
    return studentised(base, aligned, [rng.multinomial(prompts, np.ones(prompts) / prompts, RESAMPLES).astype(float)])


def measure(condition: Condition, prompts: int, seed: int, experiments: int = EXPERIMENTS) -> Found:
    """How often the interval contains the true value."""
    rng = numpy_generator(seed, f"{condition.of} {condition.name}", prompts)
    studentises = condition.of in ("mean", "ratio")
    block = max(1, AT_ONCE // (5 * RESAMPLES if studentises else 16 * prompts))
    below = above = unknown = 0
    for start in range(0, experiments, block):
        some = min(block, experiments - start)
        low, high = interval(condition, condition.draw(rng, some, prompts), rng)
        below += int((high < condition.truth - 1e-9).sum())
        above += int((low > condition.truth + 1e-9).sum())
        unknown += int(np.isnan(low).sum())
    return Found(condition, prompts, below / experiments, above / experiments, unknown / experiments)


def every_condition() -> list[Condition]:
    """All conditions."""
    return [*rates(), *win_rates(), *rate_differences(), *gaps(), *means(), *ratios()]


def summary(found: Sequence[Found]) -> str:
    """One line for each estimate and number of prompts."""
    lines = [f"{'estimate':20} {'prompts':>7} {'lowest':>7} {'mean':>6} {'highest':>8} {'unknown':>8}  where lowest"]
    for of in dict.fromkeys(each.condition.of for each in found):
        for prompts in dict.fromkeys(each.prompts for each in found):
            some = sorted((e for e in found if (e.condition.of, e.prompts) == (of, prompts)), key=lambda e: e.covered)
            mean, unknown = (np.mean([getattr(e, name) for e in some]) for name in ("covered", "unknown"))
            ends = f"{some[0].covered:7.1%} {mean:6.1%} {some[-1].covered:8.1%} {unknown:8.1%}"
            lines.append(f"{of:20} {prompts:7} {ends}  {some[0].condition.name}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="fewer experiments and numbers of prompts")
    parser.add_argument("--all", action="store_true", help="print every condition")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    found = []
    for condition, prompts in product(every_condition(), QUICK if arguments.quick else PROMPTS):
        found.append(measure(condition, prompts, arguments.seed, EXPERIMENTS // 4 if arguments.quick else EXPERIMENTS))
        if arguments.all:
            each = found[-1]
            ends = f"{each.covered:6.1%} below {each.below:5.1%} above {each.above:5.1%} unknown {each.unknown:5.1%}"
            print(f"{condition.of:20} {prompts:4} {ends}  {condition.name}", flush=True)
    print(summary(found))


if __name__ == "__main__":
    main()
