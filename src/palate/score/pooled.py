"""Several runs of `palate score` as one: their images together, and each scorer's statistics over all of them."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from palate.core.errors import InputError
from palate.core.progress import note
from palate.core.runs import read_config
from palate.records.image_folder import ImageRecord
from palate.records.systems import ImageSource, folder_names, note_joined, with_system
from palate.records.tally import Tally
from palate.score.scored import Summary, read_scored, read_summaries, scored_sources


def read_pooled(
    runs: Sequence[Path], names: Collection[str], tally: Tally, images: Sequence[ImageSource] = ()
) -> list[tuple[ImageRecord, dict[str, float]]]:
    """The images of runs, each with its scores, see `read_scored`; of several runs, every record has a system.

    Args:
        runs: runs of `palate score`.
        names, tally: see `read_scored`.
        images: the folders of the images of all runs, in their order, if they were moved since.

    Raises:
        InputError: see `read_scored`; or another number of folders is given than the runs scored.
    """
    before = [scored_sources(run, exist=not images) for run in runs]
    every = [source for sources in before for source in sources]
    if images and len(images) != len(every):
        raise InputError(f"images names {len(images)} folders, and the runs scored {len(every)}; name each, in order")
    if len(runs) == 1:
        return read_scored(runs[0], names, tally, images)
    called, found, start = folder_names([each.folder for each in every]), [], 0
    made: dict[str, list[str]] = {}
    for run, sources in zip(runs, before, strict=True):
        name = called[start]  # several folders of one run have their own names already
        scored = read_scored(run, names, tally, images[start : start + len(sources)])
        records = [with_system(record, name) for record, _ in scored]
        found += [(record, scores) for record, (_, scores) in zip(records, scored, strict=True)]
        for system in dict.fromkeys(record.system for record in records):
            made.setdefault(system, []).append(str(run))
        start += len(sources)
    note_joined(made)
    return found


def read_pooled_summaries(runs: Sequence[Path], names: Collection[str] = ()) -> dict[str, Summary]:
    """The summary over all images of runs of each scorer that all of them have.

    Args:
        runs: finished runs of `palate score`.
        names: the scorers that must be of one version; all when left out.

    Raises:
        InputError: see `read_summaries`; or a run is given twice, a scorer had another version in another run, or it
            compares the images of a prompt and has seen only those of its run.
    """
    if len(set(runs)) < len(runs):
        raise InputError("a run of `palate score` is given twice; give each run once")
    every = [read_summaries(run) for run in runs]
    common = [name for name in every[0] if all(name in each for each in every)]
    some = dict.fromkeys(name for each in every for name in each if name not in common)
    if some and not names:
        note(f"not all of {', '.join(map(str, runs))} have scores of {', '.join(some)}, which therefore rank nothing")
    for name in common:
        if not names or name in names:
            _require_same_version(runs, name)
            if len(runs) > 1 and every[0][name].within_prompt:
                fix = "score all folders in one run of `palate score`, or rank by its parts"
                raise InputError(f"{name} has compared the images of a prompt within each run; {fix}")
    return {name: pooled([each[name] for each in every]) for name in common}


def pooled(summaries: Iterable[Summary]) -> Summary:
    """The summary of the images of several summaries together, which are not in two of them."""
    every = list(summaries)
    if len(every) == 1:
        return every[0]
    count = sum(each.images for each in every)
    mean = sum(each.images * each.mean for each in every) / count
    # sum of n (spread^2 + (mean - m)^2): within and between the folders, without a difference of large numbers
    variance = sum(each.images * (each.spread**2 + (each.mean - mean) ** 2) for each in every) / count
    ends = min(each.lowest for each in every), max(each.highest for each in every)
    return Summary(every[0].higher_is_better, mean, math.sqrt(variance), *ends, count)


def _require_same_version(runs: Sequence[Path], name: str) -> None:
    inputs = [(read_config(run) or {}).get("inputs") for run in runs]
    versions = [each.get(f"scorer {name}") if isinstance(each, Mapping) else None for each in inputs]
    for run, version in zip(runs[1:], versions[1:]):
        if version != versions[0]:
            raise InputError(f"{name} has changed between {runs[0]} and {run}, so their scores differ; score one again")
