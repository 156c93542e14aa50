"""`palate evaluate`: both models draw images, judges score them, and a report shows the difference."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from palate.core.config import to_mapping
from palate.core.errors import InputError
from palate.core.flags import flag_of
from palate.core.runs import RunFolder
from palate.evaluate.compare import Comparison, Paired, Verdict, summarise_comparison
from palate.evaluate.config import EvaluateConfig
from palate.evaluate.diversity import distance_between_seeds
from palate.evaluate.judge import Judge, find_judge
from palate.evaluate.report import Stage, write_report
from palate.generate.prompts import load_prompts
from palate.generate.stage import GenerateConfig, generate
from palate.models.families import sizes_of
from palate.models.prompt_length import COUNT
from palate.models.source import resolve
from palate.records import checked
from palate.records.image_folder import BLOCKED, REASONS, by_prompt, metadata_rows, read_image_folder
from palate.score.base import Scorer, try_scorer
from palate.score.load import load_scorer
from palate.score.scored import read_scores
from palate.score.stage import ScoreConfig, score
from palate.score.within_prompt import refuse_comparing

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

SIDES = ("base", "aligned")
LEFT_OUT = "prompts left out for a blocked image"
FREE = frozenset({"out", "batch", "device"})
"""Fields that may change between the parts of one run: no result depends on them, up to float rounding."""


def evaluate(config: EvaluateConfig) -> Path:
    """Compares two models; the parts that the run folder already has are not made again.

    The folder contains `base/` and `aligned/` (runs of `palate generate`), `base-scores/` and `aligned-scores/` (runs
    of `palate score`), `summary.json` and `report.html`.

    Returns:
        The run folder.

    Raises:
        InputError: there is no such model, prompt set or judge; raised before anything is written.
        RunFolderError: the folder contains another run.
    """
    comparison = compare(config)
    write_report(
        config.out / "report.html",
        comparison,
        curves=training_curves(config.aligned),
        config=to_mapping(config),
        stages=stages(config),
    )
    run = RunFolder(config.out)
    left_out = {LEFT_OUT: len(blocked)} if (blocked := _blocked_prompts(config)) else {}
    run.finish({**summarise_comparison(comparison, run.timings), **_prompts_cut_off(config), **left_out})
    return run.path


def compare(config: EvaluateConfig) -> Comparison:
    """Draws and scores the missing images, and returns all values; arguments and errors as for `evaluate`."""
    judges = [find_judge(name) for name in (config.judge, *config.also)]
    # Kept in memory until all images are scored, so that each scorer is loaded once.
    scorers = {spec: load_scorer(spec, config.device) for judge in judges for spec in judge.specs}
    _refuse_early(config, scorers.values())
    run = RunFolder.open(config.out, "evaluate", config, free=FREE)
    for side in SIDES:
        with run.timer(f"generate {side}"):
            generate(_generation(config, side))
        with run.timer(f"score {side}"):
            score(_scoring(config, side))
    with run.timer("compare"):
        blocked = _blocked_prompts(config)
        records = {
            side: [
                rows for rows in by_prompt(read_image_folder(config.out / side)) if rows[0].prompt_index not in blocked
            ]
            for side in SIDES
        }
        if not records["base"]:
            raise InputError(f"every prompt has an image that is not the model's ({BLOCKED}): nothing to compare")
        images = {side: tuple(tuple(r.image for r in row) for row in rows) for side, rows in records.items()}
        distances = (
            np.array([[distance_between_seeds([image.open() for image in row])] for row in images[side]])
            for side in SIDES
        )
        return Comparison(
            base=config.base,
            aligned=config.aligned,
            prompts=tuple(row[0].prompt for row in records["base"]),
            images=images,
            verdicts=_verdicts(config, judges, scorers, blocked),
            diversity=Paired(*distances),
            seed=config.seed,
        )


def _blocked_prompts(config: EvaluateConfig) -> set[int]:
    """The prompts with a blocked image on either side; they are left out, since pairs need all images."""
    needed = {"prompt_index": checked.integer}
    rows = (row.values for side in SIDES for row in metadata_rows(config.out / side, needed=needed))
    return {row["prompt_index"] for row in rows if row.get(BLOCKED) in REASONS}


def _prompts_cut_off(config: EvaluateConfig) -> dict[str, int]:
    """How many prompts each side and each judge truncates, as their runs counted."""
    drawn = {side: (RunFolder(config.out / side).finished or {}).get(COUNT) for side in SIDES}
    scored = RunFolder(config.out / f"{SIDES[0]}-scores").finished or {}
    counts = {f"{COUNT} by {side}": count for side, count in drawn.items() if count}
    return {**counts, **{name: count for name, count in scored.items() if name.startswith(COUNT)}}


def training_curves(model: str) -> list[dict[str, Any]]:
    """The metrics of the `palate align` run that made the model; none for any other model."""
    folder = Path(model).expanduser()
    return RunFolder(folder).metrics() if (folder / "config.yaml").is_file() else []


def stages(config: EvaluateConfig) -> list[Stage]:
    """The parts of an evaluation, each with the command that repeats it and its duration in seconds so far."""
    commands = {
        **{f"generate {side}": command("palate generate", _generation(config, side)) for side in SIDES},
        **{f"score {side}": command("palate score", _scoring(config, side)) for side in SIDES},
        "compare": command("palate evaluate", config),
    }
    return [Stage(name, seconds, commands.get(name, "")) for name, seconds in RunFolder(config.out).timings.items()]


def command(prog: str, config: DataclassInstance) -> str:
    """The command line of a configuration, without defaults."""
    words = [prog]
    for field in dataclasses.fields(config):
        if (value := getattr(config, field.name)) != field.default:
            values = value if isinstance(value, (tuple, list)) else [value]
            words += [flag_of(field.name), *(shlex.quote(str(v)) for v in values)]
    return " ".join(words)


def _refuse_early(config: EvaluateConfig, scorers: Collection[Scorer]) -> None:
    """Checks the prompts, models and scorers before an image is drawn."""
    refuse_comparing(scorers, "an evaluation compares images of two models")
    prompts = load_prompts(config.prompts, config.limit)
    for model in (config.base, config.aligned):
        source = resolve(model)
        source.check()
        for scorer in scorers:
            side = sizes_of(source).native
            try_scorer(scorer, (side, side), prompts[0])


def _generation(config: EvaluateConfig, side: str) -> GenerateConfig:
    shared = ("prompts", "images", "limit", "seed", "steps", "guidance", "batch", "device", "dtype")
    asked = {name: getattr(config, name) for name in shared}
    return GenerateConfig(model=getattr(config, side), out=config.out / side, **asked)


def _scoring(config: EvaluateConfig, side: str) -> ScoreConfig:
    specs = dict.fromkeys(spec for name in (config.judge, *config.also) for spec in find_judge(name).specs)
    images, out = config.out / side, config.out / f"{side}-scores"
    return ScoreConfig(images=images, scorer=tuple(specs), out=out, batch=config.batch, device=config.device)


def _verdicts(
    config: EvaluateConfig, judges: Sequence[Judge], scorers: Mapping[str, Scorer], blocked: set[int]
) -> tuple[Verdict, ...]:
    tables = [read_scores(config.out / f"{side}-scores") for side in SIDES]
    rows = [[row for row in table if row["prompt_index"] not in blocked] for table in tables]
    for table in rows:
        table.sort(key=lambda row: (row["prompt_index"], row["image_index"]))

    def paired(spec: str) -> Paired:
        return Paired(*(np.array([row[spec] for row in table]).reshape(-1, config.images) for table in rows))

    def preference(spec: str) -> Paired:
        values = paired(spec)
        return values if scorers[spec].higher_is_better else Paired(-values.base, -values.aligned)

    return tuple(
        Verdict(judge.name, preference(judge.preference), {m: paired(spec) for m, spec in judge.measures.items()})
        for judge in judges
    )
