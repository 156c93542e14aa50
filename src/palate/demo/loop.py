"""`palate demo`: prompts, images, votes, alignment, evaluation and report, each by the stage that users run."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from palate.align.methods.dpo import DPOConfig
from palate.core.config import to_mapping
from palate.core.runs import RunFolder
from palate.demo.config import DemoConfig
from palate.evaluate.config import EvaluateConfig
from palate.evaluate.report import Stage
from palate.generate.stage import GenerateConfig
from palate.prefer.simulate import SimulateConfig

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

MODEL = "tiny-sd"
SAMPLES = "tiny-preferences"


def demo(config: DemoConfig) -> Path:
    """Runs the whole loop on tiny-sd; the stages that the run folder already has are not run again.

    Images of seen prompts are made and compared by five simulated people; with the comparisons that come with Palate
    they are the preferences that tiny-sd learns by Diffusion-DPO; base and aligned model then draw unseen prompts from
    the same seeds, and the auditor, which no training signal ever saw, judges them.

    Returns:
        The run folder: `summary.json`, `report.html` and one folder for each stage.

    Raises:
        RunFolderError: the folder contains another run.
    """
    from palate.align.stage import align
    from palate.evaluate.compare import summarise_comparison
    from palate.evaluate.report import write_report
    from palate.evaluate.stage import compare, training_curves
    from palate.generate.stage import generate
    from palate.prefer.simulate import simulate_preferences

    run = RunFolder.open(config.out, "demo", config, free={"out"})
    plan = _plan(config)
    with run.timer("generate"):
        print(f"{MODEL} draws {config.prompts} prompts, {config.images} images each")
        generate(plan.generate)
    with run.timer("prefer"):
        print("five simulated people compare them")
        simulate_preferences(plan.prefer)
        _gather(plan.prefer.out, Path(plan.align.preferences))
    with run.timer("align"):
        print(f"{MODEL} learns what they prefer: Diffusion-DPO, {config.steps} steps")
        align(plan.align, plan.align.method())
    with run.timer("evaluate"):
        print(f"base and aligned model draw {config.unseen} unseen prompts from the same seeds; the auditor judges")
        comparison = compare(plan.evaluate)
    curves = training_curves(plan.evaluate.aligned)
    stages = _stages(run, plan)
    write_report(config.out / "report.html", comparison, curves=curves, config=to_mapping(plan.align), stages=stages)
    run.finish(summarise_comparison(comparison, run.timings))
    return run.path


@dataclasses.dataclass(frozen=True)
class _Plan:
    """The configuration of each stage of the demonstration."""

    generate: GenerateConfig
    prefer: SimulateConfig
    align: DPOConfig
    evaluate: EvaluateConfig


def _plan(config: DemoConfig) -> _Plan:
    out, seed = config.out, config.seed
    return _Plan(
        generate=GenerateConfig(
            model=MODEL, prompts="seen", limit=config.prompts, images=config.images, seed=seed, out=out / "images"
        ),
        prefer=SimulateConfig(
            images=out / "images", scorer="teacher:utility", temperature=0.5, seed=seed, out=out / "votes"
        ),
        align=DPOConfig(
            model=MODEL, preferences=str(out / "preferences.parquet"), train="full", beta=50.0, anchor=10.0, batch=32,
            lr=2e-4, warmup=0.1, prompt_dropout=0.1, steps=config.steps, seed=seed, out=out / "aligned",
        ),
        evaluate=EvaluateConfig(
            base=MODEL, aligned=str(out / "aligned"), prompts="unseen", judge="auditor", also=("teacher",),
            limit=config.unseen, images=config.images, seed=seed + 1, out=out / "evaluation",
        ),
    )  # fmt: skip


def _gather(fresh: Path, path: Path) -> None:
    """Writes the new ranked sets and those that come with Palate to one file."""
    from palate.prefer.load import load_preferences
    from palate.records.parquet import write_sets

    if not path.exists():
        write_sets([*load_preferences(str(fresh)), *load_preferences(SAMPLES)], path)


def _stages(run: RunFolder, plan: _Plan) -> list[Stage]:
    from palate.evaluate.stage import command

    commands: Mapping[str, tuple[str, DataclassInstance]] = {
        "generate": ("palate generate", plan.generate),
        "prefer": ("palate prefer simulate", plan.prefer),
        "align": ("palate align dpo", plan.align),
        "evaluate": ("palate evaluate", plan.evaluate),
    }
    return [Stage(name, seconds, command(*commands[name])) for name, seconds in run.timings.items()]
