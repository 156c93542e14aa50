"""`palate reward test`: how well scorers foretell comparisons that they were not trained on, side by side."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from palate.core.errors import InputError
from palate.core.progress import bar
from palate.core.runs import RunFolder, read_config
from palate.prefer.curated import load_curated
from palate.prefer.grades import load_graded
from palate.prefer.load import load_preferences, load_rankings
from palate.records.columns import Rankings
from palate.records.ranked import RankedSet
from palate.reward.chart import draw_calibration
from palate.reward.measure import Comparisons, spearman
from palate.reward.stage import PROMPTS
from palate.score.base import note_prompts_cut_off
from palate.score.load import load_scorer

CHART = "calibration.png"
FREE = frozenset({"out", "batch", "device"})


@dataclass(frozen=True, kw_only=True)
class RewardTestConfig:
    """Which scorers are asked, and by whose comparisons they are judged."""

    scorer: tuple[str, ...]
    """One scorer or more: reward:<run>, implicit:<run>, clip:<model>, teacher:<measure> or image:<measure>."""
    preferences: str
    """Rankings, as `palate align` takes them."""
    out: Path
    """Run folder."""
    prompts: Literal["unseen", "all"] = "unseen"
    """Leave out every prompt that one of the scorers was trained on, as far as their runs say, or keep all."""
    batch: int = 64
    """Images scored at once."""
    device: str | None = None
    """Such as cpu or cuda; the CPU when left out."""

    def __post_init__(self) -> None:
        if not self.scorer:
            raise ValueError("scorer must name at least one, such as reward:runs/reward")
        if self.batch <= 0:
            raise ValueError(f"batch must be above zero, not {self.batch}")


def test_rewards(config: RewardTestConfig) -> Path:
    """Scores every image of the comparisons and holds the scores against the people.

    Returns:
        The run folder: `summary.json` has, for each scorer, what `Comparisons.summary` and `spearman` say;
        `calibration.png` the curves of those whose differences are log-odds: Bradley-Terry rewards and CLIPs.

    Raises:
        InputError: no such scorer or preferences, or no prompt that the scorers were not trained on.
        RunFolderError: the folder holds another run.
    """
    scorers = {spec: load_scorer(spec, config.device) for spec in config.scorer}
    sets = [each for each in load_preferences(config.preferences) if each.ranks]
    trained = {prompt for spec in scorers for prompt in trained_prompts(spec)} if config.prompts == "unseen" else set()
    kept = [each for each in sets if each.prompt not in trained]
    if not kept:
        raise InputError(
            f"the scorers were trained on every prompt of {config.preferences}; give others, or --prompts all"
        )
    run = RunFolder.open(config.out, "reward test", config, free=FREE)
    if run.finished:
        return run.path
    cut = note_prompts_cut_off(scorers.values(), (each.prompt for each in kept))
    found: dict[str, Any] = {}
    for spec, scorer in scorers.items():
        with run.timer(spec):
            sign = 1 if scorer.higher_is_better else -1
            scores = [[sign * value for value in row] for row in _scored(scorer, kept, config.batch, spec)]
        found[spec] = _judged(spec, kept, scores)
    curves = {spec: each["calibration"]["curve"] for spec, each in found.items() if "calibration" in each}
    if curves:
        draw_calibration(curves, run.path / CHART)
    run.finish({"sets": len(kept), "sets of prompts trained on": len(sets) - len(kept), **cut, "scorers": found})
    return run.path


test_rewards.__test__ = False  # type: ignore[attr-defined]  # of pytest: this is no test of its own


def trained_prompts(spec: str) -> frozenset[str]:
    """The prompts that a learned scorer was trained on, as its run says; of others none.

    Raises:
        InputError: the run of an aligned model names feedback that is not there any more.
    """
    family, _, run = spec.partition(":")
    if family == "reward":
        path = Path(run).expanduser()
        file = next((each for each in (path / PROMPTS, path / "model" / PROMPTS) if each.is_file()), None)
        return frozenset(json.loads(file.read_text())["trained"]) if file else frozenset()
    if family == "implicit" and (config := read_config(Path(run).expanduser())) and "preferences" in config:
        source = config["preferences"]
        readers = {"kto": load_graded, "reward_weighted": load_graded, "sft": load_curated}
        read = readers.get(config["stage"].split()[-1], load_rankings)
        return frozenset(read(source).prompts)
    return frozenset()


def _scored(scorer: Any, sets: Sequence[RankedSet], batch: int, title: str) -> list[list[float]]:
    images = [(image, each.prompt) for each in sets for image in each.images]
    values: list[float] = []
    with bar(title, len(images)) as progress, torch.no_grad():
        for start in range(0, len(images), batch):
            chunk = images[start : start + batch]
            values += scorer([image.open() for image, _ in chunk], [prompt for _, prompt in chunk]).tolist()
            progress.advance(len(chunk))
    rest = iter(values)
    return [[next(rest) for _ in each.images] for each in sets]


def _judged(spec: str, sets: Sequence[RankedSet], scores: Sequence[Sequence[float]]) -> dict[str, Any]:
    card = None
    if spec.startswith("reward:"):
        from palate.score.reward import load_reward

        card = load_reward(spec.partition(":")[2]).card
    rankings, padded = Rankings.of(sets), np.zeros((len(sets), max(map(len, scores))))
    for row, score in zip(padded, scores):
        row[: len(score)] = score
    found = Comparisons.of(rankings, padded).summary(card.tie if card else None)
    if not (spec.startswith("clip:") or (card and card.kind == "bradley_terry")):
        del found["calibration"]
    correlation = spearman(rankings, padded)
    return found if math.isnan(correlation) else {**found, "spearman": correlation}
