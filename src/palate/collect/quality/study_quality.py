"""The quality of a study's answers, from its database: progress, agreement, raters and systems.

An answer counts if no other vote supersedes it, its rater is not quarantined, and its screen is neither gold nor a
mirrored repeat. Gold and repeats have their own measures; a quarantined rater's answers count only in that rater's row.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import numpy as np

from palate.collect.quality.labels import Labels, opinions, verdicts
from palate.collect.quality.measures import Distance, alpha, alphas, coincidences, estimate, prompt_share, with_majority
from palate.collect.quality.rater_quality import RaterQuality, raters
from palate.collect.quality.study_record import Record, read_record
from palate.collect.quality.systems import Standing, standing_of
from palate.collect.study import OpenStudy
from palate.core.statistics import Estimate


@dataclass(frozen=True)
class Progress:
    """The progress of a study.

    Attributes:
        items: how many items are asked, without gold.
        wanted: how many votes are needed, `raters_per_item` for each item; none for live items, which only their own
            rater sees.
        votes: how many votes count.
        missing: how many votes items still need; surplus votes of one item do not replace another's missing ones.
        complete: how many items need no more votes.
        out_of_reach: how many of the `missing` votes no rater who counts can give, because all of them have answered,
            skipped or flagged the item. `raters_short` is how many more raters could give all of these.
        leases: how many screens raters have open.
        skips, flags: how often each reason was given, on any screen.
    """

    items: int
    wanted: int
    votes: int
    missing: int
    complete: int
    out_of_reach: int
    raters_short: int
    leases: int
    skips: Mapping[str, int]
    flags: Mapping[str, int]


@dataclass(frozen=True)
class Agreement:
    """The agreement of raters on one question.

    Attributes:
        distance: alpha's distance between labels: nominal for a choice, ordinal for ranks and stars.
        alpha: Krippendorff's alpha; 1 is full agreement, 0 is chance, below 0 is worse than chance. `n` is the number
            of units that two or more raters labelled.
        majority: the share of verdicts that are those of most others; `n` is the number of verdicts.
        prompts: how many prompts alpha is computed from: those with an item that two or more raters answered.
        judged: how many prompts `majority` is computed from.
    """

    question: str
    distance: Distance
    alpha: Estimate
    majority: Estimate
    prompts: int
    judged: int


@dataclass(frozen=True)
class Flagged:
    """An item that raters flagged: how often for each reason, and their remarks."""

    item: int
    prompt: str
    gold: bool
    images: tuple[int, ...]
    systems: tuple[str, ...]
    reasons: Mapping[str, int]
    remarks: tuple[str, ...]


@dataclass(frozen=True)
class Quality:
    """All measures of a study. Intervals are 95% intervals; those of the whole study's measures resample prompts."""

    task: str
    progress: Progress
    agreement: tuple[Agreement, ...]
    standings: tuple[Standing, ...]
    raters: tuple[RaterQuality, ...]
    flagged: tuple[Flagged, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON: NaN becomes null."""
        return _plain(self)


def quality(study: OpenStudy) -> Quality:
    """Measures the present state of a study."""
    record = read_record(study)
    standings = (standing_of(record, question) for question in record.questions)
    return Quality(
        record.task,
        _progress(record),
        tuple(_agreement(record, question) for question in record.questions),
        tuple(each for each in standings if each is not None),
        raters(record),
        _flagged(record),
    )


def _progress(record: Record) -> Progress:
    items, k = record.items, record.raters_per_item
    votes = np.bincount(record.answers.item[record.counted], minlength=len(items.ids))
    lacking = np.maximum(k - votes[items.real], 0)
    beyond = np.maximum(lacking - _able(record)[items.real], 0)
    heard = record.heard()
    reasons = {kind: Counter(each.reason for each in heard if each.kind == kind) for kind in ("skip", "flag")}
    return Progress(
        items=int((~items.gold).sum()),
        wanted=k * int(items.real.sum()),
        votes=int(votes.sum()),
        missing=int(lacking.sum()),
        complete=int((lacking == 0).sum()),
        out_of_reach=int(beyond.sum()),
        raters_short=int(beyond.max(initial=0)),
        leases=record.leases,
        skips=dict(reasons["skip"].most_common()),
        flags=dict(reasons["flag"].most_common()),
    )


def _able(record: Record) -> np.ndarray:
    """[I] How many of the raters who count can still be asked each item: those who have not dealt with it yet."""
    items, asides = len(record.items.ids), record.asides
    rater = np.append(record.answers.rater, [each.rater for each in asides]).astype(int)
    item = np.append(record.answers.item, [each.item for each in asides]).astype(int)
    counts = ~record.quarantined[rater]
    pairs = np.unique(rater[counts] * items + item[counts])
    return int((~record.quarantined).sum()) - np.bincount(pairs % items if items else pairs, minlength=items)


def _agreement(record: Record, question: str) -> Agreement:
    distance: Distance = "nominal" if record.task in ("pairwise", "best") else "ordinal"
    found = opinions(record, question).of(record.counted)
    together = coincidences(found.unit, found.label, *_numbered(found))
    together = together[together.any((1, 2))]
    shared = int((np.unique(found.unit, return_counts=True)[1] > 1).sum())
    value = alpha(found.unit, found.label, distance)
    known = estimate(value, together, lambda some: alphas(some, distance), shared, record.seed)
    judged = _verdicts(record, question)
    return Agreement(question, distance, known, prompt_share(judged), len(together), len(judged))


def _verdicts(record: Record, question: str) -> np.ndarray:
    """[P, 2] For each prompt, how many verdicts are those of most others, and for how many there is a majority."""
    found = verdicts(record, question).of(record.counted)
    known, agrees = with_majority(found.unit, found.label, np.ones(len(found.unit), bool))
    prompt, prompts = _numbered(found)
    sums = np.stack([np.bincount(prompt, each, prompts) for each in (agrees, known)], 1)
    return sums[sums[:, 1] > 0]


def _numbered(labels: Labels) -> tuple[np.ndarray, int]:
    """[M] the prompts of labels, renumbered from 0 without gaps, and the number of different prompts."""
    prompts, prompt = np.unique(labels.prompt, return_inverse=True)
    return prompt, len(prompts)


def _flagged(record: Record) -> tuple[Flagged, ...]:
    """The flagged items, the most often flagged first."""
    items, by_item = record.items, {}
    for each in record.heard():
        if each.kind == "flag":
            by_item.setdefault(each.item, []).append(each)
    return tuple(
        Flagged(
            item=int(items.ids[item]),
            prompt=items.prompts[items.prompt[item]],
            gold=bool(items.gold[item]),
            images=tuple(items.images[item].tolist()),
            systems=tuple(items.systems[each] if each >= 0 else "" for each in items.system[item].tolist()),
            reasons=dict(Counter(each.reason for each in asides).most_common()),
            remarks=tuple(each.remark for each in asides if each.remark),
        )
        for item, asides in sorted(by_item.items(), key=lambda pair: (-len(pair[1]), pair[0]))
    )


def _plain(value: Any) -> Any:
    if isinstance(value, Estimate):
        return value.to_dict()
    if is_dataclass(value):
        return {each.name: _plain(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    if isinstance(value, Mapping):
        return dict(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value
