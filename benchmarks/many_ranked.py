"""Many ranked images of each prompt against best-worst and random pairs of the same images.

    python benchmarks/many_ranked.py            # runs what is not finished yet, then prints the table
    python benchmarks/many_ranked.py --table    # prints the table of what is finished
    python benchmarks/many_ranked.py --only cpo-all-0-seed1

`recipes/many-ranked.sh` draws and scores the images once. Every condition learns from the same ranked sets, so that all
have the same budget of images: from all pairs of a set (`all`; listwise from whole sets), from its best and worst image
(`best-worst`), or from one random pair (`random`); each without and with the adversarial term, with three seeds. The
number of steps and of images a step is the same too. The auditor compares each model with the base model on unseen
prompts. A finished condition is a file in `docs/measured/many-ranked/`, and is not repeated.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from palate.core import statistics
from palate.core.runs import RunFolder
from palate.evaluate.compare import summarise_comparison
from palate.evaluate.config import EvaluateConfig
from palate.evaluate.stage import compare

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "docs" / "measured" / "many-ranked"
SEEDS, WEIGHTS, CHOICES = (0, 1, 2), (0.0, 0.05), ("all", "best-worst", "random")
IMAGES_A_STEP = 32
"""16 pairs, or 8 sets of four images."""
SET_SIZE = 4


@dataclass(frozen=True)
class Condition:
    """One training and its evaluation."""

    method: str
    choice: str
    adversarial: float
    seed: int

    @property
    def name(self) -> str:
        """Its name, also that of its file of results."""
        return f"{self.method}-{self.choice}-{self.adversarial:g}-seed{self.seed}"


CONDITIONS = [
    Condition(method, choice, weight, seed)
    for seed in SEEDS  # a first seed of everything is finished first
    for method in ("dpo", "cpo", "listwise")
    for choice in (CHOICES if method != "listwise" else CHOICES[:1])
    for weight in WEIGHTS
]


def main() -> None:
    """Reads the flags, runs the conditions and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "many-ranked")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--only", nargs="+", choices=[each.name for each in CONDITIONS], metavar="CONDITION")
    parser.add_argument("--pictures", type=int, default=400, help="before curation")
    parser.add_argument("--steps", type=int, default=80)
    parser.add_argument("--unseen", type=int, default=60, help="prompts of the evaluation")
    parser.add_argument("--table", action="store_true", help="run nothing")
    asked = parser.parse_args()
    wanted = [each for each in CONDITIONS if not asked.only or each.name in asked.only]
    left = [each for each in wanted if not (asked.results / f"{each.name}.json").is_file()]
    if left and not asked.table:
        draw_images(asked.runs, asked.pictures)
        for condition in left:
            result = run_condition(condition, asked.runs, asked.steps, asked.unseen)
            asked.results.mkdir(parents=True, exist_ok=True)
            (asked.results / f"{condition.name}.json").write_text(json.dumps(result, indent=1) + "\n")
    print_table(asked.results)


def draw_images(runs: Path, pictures: int) -> None:
    """Curated images, generated images, the discriminator and the ranked sets; nothing where they are finished."""
    if (runs / "preferences" / "summary.json").is_file():
        return
    environment = {"METHODS": "", "RUNS": str(runs.resolve()), "PROMPTS": str(pictures), "PYTHON": sys.executable}
    subprocess.run([ROOT / "recipes" / "many-ranked.sh"], env=os.environ | environment, check=True)


def run_condition(condition: Condition, runs: Path, steps: int, unseen: int) -> dict[str, Any]:
    """Trains and evaluates one condition; an interrupted one continues."""
    start, preferences, model = time.perf_counter(), runs / "preferences", runs / "conditions" / condition.name
    if condition.method != "listwise":
        preferences = runs / f"pairs-{condition.choice}-{condition.seed}"
        flags = ("--pairs", condition.choice, "--seed", condition.seed)
        palate("prefer", "filter", "--preferences", runs / "preferences", *flags, "--out", preferences)
    batch = IMAGES_A_STEP // (SET_SIZE if condition.method == "listwise" else 2)
    flags = ("--steps", steps, "--batch", batch, "--seed", condition.seed, "--adversarial", condition.adversarial)
    recipe = ROOT / "recipes" / f"{condition.method}-tiny.yaml"
    palate("align", condition.method, "--config", recipe, "--preferences", preferences, *flags, "--out", model)
    trained = time.perf_counter()
    comparison = evaluate(model, runs, unseen)
    found, sets = summarise_comparison(comparison), RunFolder(preferences).finished or {}
    return {
        **vars(condition),
        "images": (RunFolder(runs / "scores").finished or {})["images"],
        "ranked sets": sets["ranked sets"],
        "pairs": sets["pairs"],
        "steps": steps,
        "batch": batch,
        "win_rate": found["win_rate"],
        "outcomes": comparison.judged.outcomes.tolist(),
        **{name: found[name]["difference"] for name in ("faithful", "appeal") if name in found},
        "diversity": found["diversity"]["ratio"],
        "seconds": {"training": round(trained - start, 1), "evaluation": round(time.perf_counter() - trained, 1)},
    }


def evaluate(model: Path, runs: Path, unseen: int) -> Any:
    """The comparison with the base model, whose images are drawn only once."""
    shared, out = runs / "evaluations" / "base", runs / "evaluations" / model.name
    config = EvaluateConfig(
        base="tiny-sd", aligned=str(model), prompts="unseen", limit=unseen, images=2, judge="auditor", out=out
    )
    if (shared / "summary.json").is_file() and not (out / "base").exists():
        RunFolder.open(out, "evaluate", config, free={"out"})
        shutil.copytree(shared, out / "base", copy_function=os.link)
    comparison = compare(config)
    if not shared.exists():
        shutil.copytree(out / "base", shared)
    return comparison


def palate(*words: object) -> None:
    """Runs a command of Palate."""
    subprocess.run([sys.executable, "-m", "palate", *map(str, words)], check=True)


def print_table(results: Path) -> None:
    """A row for each method, choice of pairs and weight, over the seeds that are finished."""
    found: dict[tuple[str, str, float], list[dict[str, Any]]] = {}
    for file in sorted(results.glob("*.json")):
        row = json.loads(file.read_text())
        found.setdefault((row["method"], row["choice"], row["adversarial"]), []).append(row)
    print("| method | pairs | adversarial | seeds | win rate | faithful | appeal | diversity | seconds |")
    print("|---|---|---|---|---|---|---|---|---|")
    for (method, choice, weight), rows in found.items():
        # the seeds have the same prompts: further columns of the same rows
        won = statistics.rate(np.concatenate([np.array(row["outcomes"]) for row in rows], axis=1))
        means = [np.mean([row[name]["value"] for row in rows]) for name in ("faithful", "appeal", "diversity")]
        seconds = np.mean([sum(row["seconds"].values()) for row in rows])
        rate = f"{won.value:.3f} [{won.low:.3f}, {won.high:.3f}]"
        cells = f"{means[0]:+.3f} | {means[1]:+.3f} | {means[2]:.3f} | {seconds:.0f}"
        print(f"| {method} | {choice} | {weight:g} | {len(rows)} | {rate} | {cells} |")


if __name__ == "__main__":
    main()
