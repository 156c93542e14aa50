"""`palate reward test`: compares how well scorers predict comparisons that they were not trained on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from palate.align.learned import prompts_of_run
from palate.core.errors import InputError
from palate.core.progress import bar
from palate.core.runs import RunFolder
from palate.core.values import shown
from palate.prefer.load import load_preferences
from palate.prefer.stage import digest_sets
from palate.records.columns import Rankings
from palate.records.ranked import RankedSet
from palate.reward.chart import draw_calibration
from palate.reward.comparisons import Comparisons, TieThreshold, spearman
from palate.reward.config import RewardTestConfig
from palate.reward.stage import FOLDS, HELD_OUT, PROMPTS, TRAINED
from palate.score.base import note_prompts_cut_off, require_score, score_images
from palate.score.load import fingerprints, load_scorer
from palate.score.within_prompt import compares_images

if TYPE_CHECKING:
    from palate.score.reward import RewardCard

CHART = "calibration.png"
OF_TRAINING = {"folds": "the folds of its training", "held out": "prompts held out of its training"}
"""The descriptions of the pairs on which a reward's own threshold of ties was chosen."""
FREE = frozenset({"out", "batch", "device"})


def test_rewards(config: RewardTestConfig) -> Path:
    """Scores every image of the comparisons and compares the scores with people's judgements.

    Returns:
        The run folder: `summary.json` has the results of `Comparisons.summary` and `spearman` for each scorer;
        `calibration.png` has the curves of scorers whose differences are log-odds: Bradley-Terry rewards and CLIPs.

    Raises:
        InputError: there are no such scorers or preferences, or the scorers were trained on every prompt.
        RunFolderError: the folder contains another run.
    """
    scorers = {spec: load_scorer(spec, config.device) for spec in config.scorer}
    sets = [each for each in load_preferences(config.preferences) if each.ranks]
    trained = (
        {prompt for spec in scorers for prompt in prompts_of_scorer(spec)} if config.prompts == "unseen" else set()
    )
    kept = [each for each in sets if each.prompt not in trained]
    if not kept:
        raise InputError(
            f"the scorers were trained on every prompt of {config.preferences}; give others, or --prompts all"
        )
    inputs = {"preferences": digest_sets(kept), **fingerprints(scorers.values())}
    run = RunFolder.open(config.out, "reward test", config, free=FREE, inputs=inputs)
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


test_rewards.__test__ = False  # type: ignore[attr-defined]  # for pytest: this function is not a test


def prompts_of_scorer(spec: str) -> frozenset[str]:
    """The prompts that a learned scorer was trained on, according to its run; none for other scorers.

    Raises:
        InputError: the run of an aligned model names feedback that does not exist any more.
    """
    family, _, run = spec.partition(":")
    if family == "reward":
        return _listed(run, TRAINED)
    return prompts_of_run(Path(run).expanduser()) if family == "implicit" else frozenset()


def _listed(run: str, kind: str) -> frozenset[str]:
    """The prompts of one kind, `TRAINED` or `HELD_OUT`, that a run of `palate reward train` lists."""
    path = Path(run).expanduser()
    file = next((each for each in (path / PROMPTS, path / "model" / PROMPTS) if each.is_file()), None)
    if file is None:
        return frozenset()
    try:
        found = json.loads(file.read_text("utf-8"))[kind]
        if not isinstance(found, list) or not all(isinstance(prompt, str) for prompt in found):
            raise ValueError(f"its {kind!r} is {shown(found)}, not a list of texts")
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{file} is damaged ({error}); train the reward again") from error
    return frozenset(found)


def _scored(scorer: Any, sets: Sequence[RankedSet], batch: int, title: str) -> list[list[float]]:
    by_set = [[(image, each.prompt) for image in each.images] for each in sets]
    images = [image for each in by_set for image in each]
    chunks = by_set if compares_images(scorer) else [images[at : at + batch] for at in range(0, len(images), batch)]
    values: list[float] = []
    with bar(title, len(images)) as progress:
        for chunk in chunks:
            values += score_images(scorer, [image.open() for image, _ in chunk], [prompt for _, prompt in chunk])
            progress.advance(len(chunk))
    for (image, _), value in zip(images, values, strict=True):
        require_score(scorer.name, value, image)
    rest = iter(values)
    return [[next(rest) for _ in each.images] for each in sets]


def _judged(spec: str, sets: Sequence[RankedSet], scores: Sequence[Sequence[float]]) -> dict[str, Any]:
    card, tie = None, None
    if spec.startswith("reward:"):
        from palate.score.reward import load_reward

        run = spec.partition(":")[2]
        card = load_reward(run).card
        tie = _threshold(card, run, {each.prompt for each in sets})
    rankings, padded = Rankings.of(sets), np.zeros((len(sets), max(map(len, scores))))
    for row, score in zip(padded, scores):
        row[: len(score)] = score
    found = Comparisons.of(rankings, padded).summary(tie)
    if not (spec.startswith("clip:") or (card and card.kind == "bradley_terry")):
        del found["calibration"]
    correlation = spearman(rankings, padded)
    return found if correlation is None else {**found, "spearman": correlation}


def _threshold(card: RewardCard, run: str, tested: set[str]) -> TieThreshold | None:
    """A reward's own threshold of ties, unless it was chosen on prompts that are tested now."""
    if card.tie is None or card.tie_chosen_on is None:
        return None
    chosen_on = _listed(run, TRAINED if card.tie_chosen_on == FOLDS else HELD_OUT)
    return TieThreshold(card.tie, OF_TRAINING[card.tie_chosen_on]) if chosen_on.isdisjoint(tested) else None
