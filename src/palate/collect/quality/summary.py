"""A study's quality as lines for a terminal, which `palate collect status` prints."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from palate.collect.quality.number_text import (
    FEW,
    count_of,
    counted,
    decimals,
    interval_ends,
    interval_or_reason,
    listed,
    share_of,
    short_duration,
    whole_percent,
)
from palate.collect.quality.rater_quality import RaterQuality
from palate.collect.quality.study_quality import Agreement, Progress, Quality
from palate.collect.quality.systems import Standing
from palate.core.statistics import ENOUGH, Estimate

PRIOR = "the values depend on a weak prior and have no interval yet"


def summary(found: Quality) -> list[str]:
    """A study's quality, line by line."""
    lines = [*_progress(found.progress)]
    for each in found.agreement:
        lines += _agreement(each)
    for each in found.standings:
        lines += _standing(each)
    return lines + [_rater(each) for each in found.raters]


def _progress(progress: Progress) -> Iterator[str]:
    yield f"votes: {progress.votes:,} of {progress.wanted:,}" if progress.wanted else f"votes: {progress.votes:,}"
    yield f"items: {progress.items:,}, of which {progress.complete:,} with all their votes"
    yield f"open on raters' screens now: {progress.leases:,}"
    if progress.out_of_reach:
        yield f"{shortage(progress)}; `palate collect invite` makes a link"
    for name, counts in (("skips", progress.skips), ("flags", progress.flags)):
        if counts:
            yield f"{name}: {counted(counts)}"


def _agreement(found: Agreement) -> Iterator[str]:
    alpha, majority = found.alpha, found.majority
    if not math.isfinite(alpha.value):
        yield f"Krippendorff's alpha, {found.question}: unknown, as {without_alpha(found)}"
    else:
        interval = interval_or_reason(alpha, found.prompts)
        yield f"Krippendorff's alpha, {found.question}: {decimals(alpha.value)} ({interval})"
    if majority.n:
        share = f"{share_of(majority.value, majority.n)} ({interval_or_reason(majority, found.judged, whole_percent)})"
        yield f"agreement with the majority of the others, {found.question}: {share}"


def _standing(found: Standing) -> Iterator[str]:
    values, name = (found.stars, "mean stars") if found.stars else (found.strengths, "Bradley-Terry strength")
    yield f"{name}, {found.question} (95% intervals resample prompts):"
    for sentence in doubts(found):
        yield f"  {sentence}"
    for system, value in zip(found.systems, values):
        if math.isfinite(value.value):
            yield f"  {system}: {decimals(value.value)} ({spread(found, value)})"


def spread(found: Standing, value: Estimate) -> str:
    """The interval of a system's value, or why it is not known, unless `doubts` says that already."""
    doubtful = found.prompts < ENOUGH or not (found.stars or found.state == "settled")
    return interval_ends(value) if doubtful else interval_or_reason(value, found.prompts)


def shortage(progress: Progress) -> str:
    """The text for votes that none of the present raters can give: `18 votes need another rater`."""
    short = progress.raters_short
    need = "needs" if progress.out_of_reach == 1 else "need"
    raters = "another rater" if short == 1 else f"{short} more raters"
    return f"{count_of(progress.out_of_reach, 'vote')} {need} {raters}"


def without_alpha(found: Agreement) -> str:
    """Why there is no alpha."""
    return "all answers are the same" if found.alpha.n else "no two raters have answered the same item yet"


def doubts(found: Standing) -> list[str]:
    """The reasons why the systems' values are less certain than they look, one sentence each."""
    rated = bool(found.stars)
    if not any(each.n for each in found.stars or found.strengths):
        return [f"No answer {'rates' if rated else 'compares'} these systems yet."]
    sentences = [f"Which system is better is unknown: {FEW} have answers."] if found.prompts < ENOUGH else []
    if not rated and found.state == "apart":
        sentences.append(f"Some systems were never compared with the others, not even through a third: {PRIOR}.")
    if not rated and found.state == "swept":
        sentences.append(f"{_sweep(found)}: {PRIOR}.")
    return sentences


def _sweep(found: Standing) -> str:
    """A sentence about the systems that have won, or lost, every comparison."""
    rows = list(zip(found.systems, found.win_rates, found.comparisons))
    for rate, verb in ((1.0, "won"), (0.0, "lost")):
        names = [name for name, rates, counts in rows if any(counts) and _all(rates, counts, rate)]
        if names:
            return f"{listed(names)} {'has' if len(names) == 1 else 'have'} {verb} every comparison so far"
    return "One group of systems has won every comparison with the others so far"


def _all(rates: Sequence[float], counts: Sequence[int], rate: float) -> bool:
    return all(each == rate for each, count in zip(rates, counts) if count)


def _rater(found: RaterQuality) -> str:
    pace = f", {short_duration(found.seconds)} each" if math.isfinite(found.seconds) else ""
    words = [*(["quarantined"] if found.quarantined else []), *found.words]
    return f"rater {found.name}: {count_of(found.votes, 'vote')}{pace}" + (f": {', '.join(words)}" if words else "")
