"""Label Studio's JSON export: a list of tasks, each with `data`, and `annotations` of several people.

An annotation answers by a result of the tags Pairwise (`left`, `right`), Choices (the images' keys, `left`, `right`, or
a tie), Ranker (an order, or buckets with a number in their names) or, for a task of one image, Rating. Where a task has
several such controls, the one with most answers in the file is read. Images are files beside the export, or `data:`
URLs. The formats are described at https://labelstud.io/guide/task_format and https://labelstud.io/tags/ranker.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from palate.core.errors import InputError
from palate.prefer.readers.annotated import chosen, count, first_record, image_at, in_order, prompt_in, references_in
from palate.prefer.votes import aggregate
from palate.records.images import StoredImage
from palate.records.parquet import checked
from palate.records.ranked import RankedSet, Vote, rank
from palate.records.tables import read_table
from palate.records.tally import Tally

_MINIMAL = {"annotation_id", "annotator"}
"""Keys that only the short export has."""


@dataclass(frozen=True)
class Rating:
    """An image that was graded by itself: stars, or any number of which more is better, by rater."""

    prompt: str
    image: StoredImage
    stars: Mapping[str, float]
    system: str = ""
    seed: int | None = None


def matches(path: Path) -> bool:
    """Whether this is such an export, or a folder with some."""
    return bool(_files(path))


def read(path: Path, tally: Tally) -> Iterator[RankedSet]:
    """One ranked set a task, each annotation a vote; or, of ratings, one a prompt (see `rated_sets`).

    Cancelled annotations, drafts, predictions and answers to other questions are left out and counted.

    Raises:
        InputError: no annotation ranks images, or a row is bad.
    """
    tasks = [task for file in _files(path) or [path] for task in _tasks(file)]
    control = _control(tasks, path)
    ratings: list[Rating] = []
    for name, task, folder in tasks:
        with tally.row(name):
            data = _data(task)
            if not (references := references_in(data)):
                raise InputError(f"no image among {', '.join(data)}; name files beside the export")
            answers = _answers(task, control, list(references), tally)
            if not answers:
                tally.drop("tasks without an answer")
                continue
            images = tuple(image_at(each, folder, f"{key} of {name}") for key, each in references.items())
            systems, seeds = _about(task, "systems", str, len(images)), _about(task, "seeds", int, len(images))
            first, *others = images
            if others:
                votes = tuple(Vote(rater, tuple(map(int, ranks))) for rater, ranks in answers)
                ranks = aggregate(votes, len(images))
                yield checked(RankedSet(prompt_in(data), images, ranks, votes, systems, seeds))
            else:
                first.open()
                about = (systems or ("",))[0], (seeds or (None,))[0]
                ratings += [Rating(prompt_in(data), first, {rater: stars}, *about) for rater, (stars,) in answers]
    yield from rated_sets(ratings, tally)


def rated_sets(ratings: Iterable[Rating], tally: Tally) -> Iterator[RankedSet]:
    """Ranked sets of images that were graded one at a time: the images of a prompt, ranked by their mean stars.

    An image's stars are the mean over its raters, each rater's own mean first where they graded it twice; equal means
    share a rank, and the means are kept as the scores `stars`. A rater who graded every image of the prompt has also
    ranked them, so that is kept as a vote; the stars of the others are in the means alone, which is counted, as are
    prompts of which only one image was graded. Ranks follow the means and not the votes: votes have no place for how
    many stars lie between two images.
    """
    prompts: dict[str, dict[tuple[object, ...], list[Rating]]] = {}
    for each in ratings:
        prompts.setdefault(each.prompt, {}).setdefault((each.image, each.system, each.seed), []).append(each)
    for prompt, images in prompts.items():
        if len(images) < 2:
            tally.drop("prompts with a single rated image")
            continue
        stars = [_by_rater(same) for same in images.values()]
        raters = [rater for rater in stars[0] if all(rater in each for each in stars)]
        count(tally, "ratings that are in no vote", sum(len(each) - len(raters) for each in stars))
        means = tuple(fmean(each.values()) for each in stars)
        firsts = [same[0] for same in images.values()]
        seeds = tuple(each.seed for each in firsts if each.seed is not None)
        yield RankedSet(
            prompt=prompt,
            images=tuple(each.image for each in firsts),
            ranks=rank([-mean for mean in means]),
            votes=tuple(Vote(rater, rank([-each[rater] for each in stars])) for rater in raters),
            systems=tuple(each.system for each in firsts) if any(each.system for each in firsts) else (),
            seeds=seeds if len(seeds) == len(firsts) else (),
            scores={"stars": means},
        )


def _files(path: Path) -> list[Path]:
    found = sorted(path.glob("*.json")) if path.is_dir() else [path]
    firsts = [(file, first_record(file) or {}) for file in found]
    return [file for file, first in firsts if first.keys() >= {"data", "annotations"} or first.keys() >= _MINIMAL]


def _tasks(file: Path) -> Iterator[tuple[str, Any, Path]]:
    """Each task with its name and its folder."""
    for number, task in enumerate(read_table(file, "export")):
        if isinstance(task, dict) and task.keys() >= _MINIMAL:
            raise InputError(f"{file} is the short export JSON-MIN, which lacks the annotations; export JSON")
        yield f"task {task.get('id', number) if isinstance(task, dict) else number} of {file}", task, file.parent


def _data(task: Any) -> dict[str, Any]:
    if not isinstance(task, dict) or not isinstance(task.get("data"), dict):
        raise InputError("it is no task with data and annotations; export it again")
    return task["data"]


def _control(tasks: Iterable[tuple[str, Any, Path]], path: Path) -> str:
    """The name of the control with most answers that tell images apart; of equal ones, the first."""
    counts: Counter[str] = Counter()
    for _, task, _ in tasks:
        if isinstance(task, dict) and isinstance(task.get("data"), dict):
            keys = list(references_in(task["data"]))
            for _, results in _kept(task):
                for result, values in _about_images(results, keys):
                    counts[str(result.get("from_name"))] += len(keys) == 1 or values is None or len(set(values)) > 1
    if not counts:
        raise InputError(f"no annotation of {path} ranks images; it needs Pairwise, Choices, Ranker or Rating results")
    return counts.most_common(1)[0][0]


def _kept(task: Mapping[str, Any]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """The rater and the results of each annotation that was not cancelled."""
    for each in _dicts(task.get("annotations")):
        if not each.get("was_cancelled"):
            results = _dicts(each.get("result"))
            yield _named(results) or _rater(each.get("completed_by")), results


def _about_images(
    results: Iterable[dict[str, Any]], keys: Sequence[str]
) -> Iterator[tuple[dict[str, Any], tuple[float, ...] | None]]:
    """The results that are about images, with what they say of them; None where that makes no sense."""
    for result in results:
        try:
            if (values := _answer(result, keys)) is not None:
                yield result, values
        except InputError:
            yield result, None


def _answers(
    task: Mapping[str, Any], control: str, keys: Sequence[str], tally: Tally
) -> list[tuple[str, tuple[float, ...]]]:
    """Each rater's ranks of the images [n], or stars of a single one."""
    answers, kept = [], list(_kept(task))
    count(tally, "cancelled annotations", len(_dicts(task.get("annotations"))) - len(kept))
    for what, name in (("drafts", "drafts"), ("predictions", "predictions of models")):
        count(tally, name, len(task[what]) if isinstance(task.get(what), list) else 0)
    for rater, results in kept:
        mine = [result for result in results if str(result.get("from_name")) == control]
        others = [result for result in results if result not in mine]
        count(tally, "answers to other questions", len(list(_about_images(others, keys))))
        if not mine:
            tally.drop("annotations without an answer")
            continue
        values = _answer(mine[0], keys)
        if values is None or len(mine) > 1:
            said = ", ".join(f"{each.get('value')!s:.80}" for each in mine)
            raise InputError(f"the answer {said} does not say which of {', '.join(keys)} is best; mend or delete it")
        answers.append((rater, values))
    return answers


def _answer(result: Mapping[str, Any], keys: Sequence[str]) -> tuple[float, ...] | None:
    value, kind = result.get("value"), result.get("type")
    if not isinstance(value, dict) or not keys:
        return None
    if len(keys) == 1:
        stars = value.get("rating") if kind == "rating" else None
        return (float(stars),) if isinstance(stars, (int, float)) else None
    if kind == "ranker":
        return in_order(_groups(value.get("ranker"), result.get("from_name")), keys)
    return chosen(value.get("choices") if kind == "choices" else [value.get("selected")], keys)


def _groups(ranker: Any, name: Any) -> list[list[str]]:
    """The images from the best to the worst: of a list, of the list that bears the tag's name, or bucket by bucket."""
    if isinstance(ranker, dict):
        full = {str(bucket): ids for bucket, ids in ranker.items() if ids}
        numbers = {bucket: int(found[0]) for bucket in full if (found := re.findall(r"\d+", bucket))}
        if len(ranker) == 1 and (not numbers or name in full):
            (ranker,) = ranker.values()
        elif len(numbers) < len(full):
            raise InputError(f"the buckets {', '.join(full)} have no order; name them rank 1, rank 2 and so on")
        else:
            ranker = [full[bucket] for bucket in sorted(full, key=numbers.__getitem__)]
    listed = ranker if isinstance(ranker, list) else []
    return [[str(one) for one in (each if isinstance(each, list) else [each])] for each in listed]


def _named(results: Iterable[Mapping[str, Any]]) -> str:
    """The rater of whom an export of ours says that the vote is, whoever took it into Label Studio since."""
    metas = (result.get("meta") for result in results)
    return next((meta["rater"] for meta in metas if isinstance(meta, dict) and isinstance(meta.get("rater"), str)), "")


def _rater(completed_by: Any) -> str:
    """A name for who annotated: a person's number, or what the export says of the person."""
    if isinstance(completed_by, dict):
        parts = [str(completed_by.get(part) or "") for part in ("first_name", "last_name")]
        name = str(completed_by.get("email") or " ".join(parts).strip())
        return name or _rater(completed_by.get("id"))
    return "unknown" if completed_by is None else f"user {completed_by}"


def _about(task: Mapping[str, Any], what: str, kind: type, n: int) -> tuple[Any, ...]:
    """What `meta` says of each image [n], or nothing."""
    meta = task.get("meta")
    values = meta.get(what) if isinstance(meta, dict) else None
    if not isinstance(values, list) or len(values) != n or not all(isinstance(each, kind) for each in values):
        return ()
    return tuple(values)


def _by_rater(ratings: Iterable[Rating]) -> dict[str, float]:
    given: dict[str, list[float]] = {}
    for each in ratings:
        for rater, stars in each.stars.items():
            given.setdefault(rater, []).append(stars)
    return {rater: fmean(stars) for rater, stars in given.items()}


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []
