"""What docs/align.md says of preference methods, measured on tiny-sd with three seeds.

    python benchmarks/preference_methods.py runs/methods          runs what is not in docs/measured/ yet
    python benchmarks/preference_methods.py runs/methods 0/2      the first of two processes that share the work
    python benchmarks/preference_methods.py                       prints the tables of what is there

Three experiments: what happens to both errors under DPO, with and without what should hold the winner's down; a sweep
of learning rate and beta; and raters of whom each flips some of his votes.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from measured import add_row, base_verdicts, gain, measure, rows_of
from palate.align.methods import method_config
from palate.core.config import from_mapping
from palate.core.seeds import numpy_generator
from palate.prefer.aggregation import aggregate
from palate.prefer.load import load_preferences
from palate.records.parquet import write_sets
from palate.records.ranked import RankedSet, Vote

NAME, SEEDS, RATERS = "preference-methods", (0, 1, 2), 3
COMMON = {"model": "tiny-sd", "train": "full", "steps": 80, "batch": 16, "lr": 2e-4, "warmup": 0.1, "beta": 50.0}
COMMON |= {"prompt_dropout": 0.1, "preferences": "tiny-preferences"}
ERRORS: dict[str, dict[str, Any]] = {
    "dpo": {},
    "dpo, anchor 10": {"anchor": 10.0},
    "dpo, safeguard 0.6": {"safeguard": 0.6},
    "dpo, beta auto": {"beta": "auto"},
    "dpo, beta auto, safeguard 0.6": {"beta": "auto", "safeguard": 0.6},
}
RATES, BETAS = (5e-5, 2e-4, 8e-4), (10.0, 50.0, 250.0)
FLIPPED = (0.1, 0.2, 0.3)


class Condition(NamedTuple):
    """One run: its experiment, name and seed, the method and its settings; `flipped` is the share of flipped votes."""

    group: str
    name: str
    seed: int
    method: str
    settings: dict[str, Any]
    flipped: float | None = None


def conditions() -> Iterator[Condition]:
    """All runs, one seed after the other."""
    for seed in SEEDS:
        for name, settings in ERRORS.items():
            yield Condition("errors", name, seed, "dpo", settings)
        for rate in RATES:
            for beta in BETAS:
                if (rate, beta) != (COMMON["lr"], COMMON["beta"]):  # that one is `dpo` above
                    yield Condition("sweep", f"{rate:g} {beta:g}", seed, "dpo", {"lr": rate, "beta": beta})
        for flipped in FLIPPED:
            for name, (method, settings) in noisy_methods(flipped).items():
                yield Condition("votes", f"{name}, {flipped:.0%}", seed, method, {"anchor": 10.0, **settings}, flipped)


def noisy_methods(flipped: float) -> dict[str, tuple[str, dict[str, Any]]]:
    """The methods that learn from votes with errors; cDPO is told how many there are."""
    return {
        "dpo": ("dpo", {}),
        "cDPO": ("dpo", {"smoothing": flipped}),
        "soft votes": ("dpo", {"soft_votes": "labels"}),
        "dmpo": ("dmpo", {}),
        "ipo": ("dpo", {"link": "ipo"}),
    }


def flipped_votes(share: float, seed: int, path: Path) -> Path:
    """The pairs of tiny-preferences as three raters see them, each of whom flips a share of his votes."""
    random, sets = numpy_generator(seed, "flipped votes"), []
    for each in load_preferences("tiny-preferences"):
        ranks = each.ranks or ()
        for i in range(len(ranks)):
            for j in range(len(ranks)):
                if ranks[i] < ranks[j]:
                    wrong = random.random(RATERS) < share
                    votes = tuple(Vote(f"rater {k}", (2, 1) if no else (1, 2)) for k, no in enumerate(wrong))
                    sets.append(RankedSet(each.prompt, (each.images[i], each.images[j]), aggregate(votes, 2), votes))
    write_sets(sets, path)
    return path


def run(condition: Condition, folder: Path) -> None:
    """Runs one condition and keeps its result; its model is removed."""
    place = folder / f"{condition.group}-{condition.name}-{condition.seed}".replace(" ", "-").replace(",", "")
    place.mkdir(parents=True, exist_ok=True)
    settings = {**COMMON, "seed": condition.seed, **condition.settings, "out": str(place / "run")}
    settings["cache"] = str(folder / "cache")
    if condition.flipped is not None:
        settings["preferences"] = str(flipped_votes(condition.flipped, condition.seed, place / "votes.parquet"))
    found = measure(from_mapping(method_config(condition.method), settings))
    add_row(NAME, {"group": condition.group, "name": condition.name, "seed": condition.seed, **found})
    shutil.rmtree(place)


def tables() -> None:
    """Prints what has been measured, with the gain in the auditor's faithful rate over the base model."""
    rows, base = rows_of(NAME), base_verdicts()
    print(f"base model: {100 * base.mean():.1f}% faithful on {len(base)} unseen prompts\n")
    print(
        "| DPO | seeds | gain in points | winner's error, % | loser's error, % | diagnosis |\n|---|---|---|---|---|---|"
    )
    for name in ERRORS:
        if same := [row for row in rows if (row["group"], row["name"]) == ("errors", name)]:
            found = ", ".join(dict.fromkeys(row["diagnosis"] for row in same))
            print(f"| {name} | {len(same)} | {_points(base, same)} | {_rises(same)} | {found} |")
    print(f"\n| lr | {' | '.join(f'beta {beta:g}' for beta in BETAS)} |\n|---|{'---|' * len(BETAS)}")
    for rate in RATES:
        cells = [_cell(base, [row for row in rows if _swept(row, rate, beta)]) for beta in BETAS]
        print(f"| {rate:g} | {' | '.join(cells)} |")
    print(f"\n| votes flipped | {' | '.join(noisy_methods(0.1))} |\n|---|{'---|' * len(noisy_methods(0.1))}")
    for flipped in FLIPPED:
        names = [f"{name}, {flipped:.0%}" for name in noisy_methods(flipped)]
        cells = [_points(base, [r for r in rows if (r["group"], r["name"]) == ("votes", name)]) for name in names]
        print(f"| {flipped:.0%} | {' | '.join(cells)} |")


def _swept(row: dict[str, Any], rate: float, beta: float) -> bool:
    """Whether a result is that of plain DPO at a learning rate and a beta."""
    if (rate, beta) == (COMMON["lr"], COMMON["beta"]):
        return (row["group"], row["name"]) == ("errors", "dpo")
    return (row["group"], row["name"]) == ("sweep", f"{rate:g} {beta:g}")


def _points(base: np.ndarray, rows: list[dict[str, Any]]) -> str:
    """The gain of some seeds, with its interval."""
    if not rows:
        return "-"
    found = gain(base, rows)
    return f"{100 * found.value:+.1f} [{100 * found.low:+.1f}, {100 * found.high:+.1f}]"


def _rises(rows: list[dict[str, Any]]) -> str:
    """The rise of both errors, the mean over seeds, as two cells."""
    return " | ".join(f"{np.mean([row['rises'][role] for row in rows]):+.1f}" for role in ("winner", "loser"))


def _cell(base: np.ndarray, rows: list[dict[str, Any]]) -> str:
    """The gain, and the rise of both errors."""
    return f"{_points(base, rows)}; {_rises(rows).replace(' | ', ', ')}" if rows else "-"


def main() -> None:
    """See the module."""
    if len(sys.argv) > 1:
        part, parts = map(int, sys.argv[2].split("/")) if len(sys.argv) > 2 else (0, 1)
        base_verdicts(Path(sys.argv[1]))
        done = {(row["group"], row["name"], row["seed"]) for row in rows_of(NAME)}
        for number, condition in enumerate(conditions()):
            if number % parts == part and condition[:3] not in done:
                run(condition, Path(sys.argv[1]))
    tables()


if __name__ == "__main__":
    main()
