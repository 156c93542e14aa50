"""Label Studio's JSON export: a list of tasks, each with `data`, and `annotations` of several people.

An annotation has a result of the tag Pairwise (`left`, `right`), Choices (the images' keys, `left`, `right`, or a tie),
Ranker (an order, or buckets with a number in their names) or, for a task of one image, Rating. Where a task has several
such controls, the one with most answers in the file is read. Images are files in the folder of the export, or `data:`
URLs. The formats are described at https://labelstud.io/guide/task_format and https://labelstud.io/tags/ranker.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from palate.core.errors import InputError
from palate.prefer.aggregation import aggregate
from palate.prefer.formats.labelstudio import RATER, SEEDS, SYSTEMS, bucket_rank
from palate.prefer.ratings import Rating, rated_sets
from palate.prefer.readers.annotated import (
    image_of_reference,
    ranks_of_choice,
    ranks_of_order,
    references_in,
)
from palate.prefer.readers.reader import EVERYTHING, FormatReader, Selection
from palate.records import checked
from palate.records.checked_set import checked_set
from palate.records.ranked import RankedSet, Vote
from palate.records.table_files import read_table
from palate.records.table_stream import first_object
from palate.records.tally import Tally

_MINIMAL = {"annotation_id", "annotator"}
"""The keys that only the short export JSON-MIN has."""


def matches(path: Path) -> bool:
    """Whether this is such an export, or a folder with some."""
    return bool(_files(path))


def read(path: Path, tally: Tally, selection: Selection = EVERYTHING) -> Iterator[RankedSet]:
    """One ranked set for each task, with a vote for each annotation; from ratings, one for each prompt (`rated_sets`).

    Cancelled annotations, drafts, predictions and answers to other questions are left out and counted.

    Raises:
        InputError: no annotation ranks images, or a row is bad.
    """
    tasks = [task for file in _files(path) or [path] for task in _tasks(file, tally)]
    control = _control(tasks, path)
    ratings: list[Rating] = []
    for name, task, folder in tasks:
        with tally.row(name):
            data = _data(task)
            if not (references := references_in(data)):
                raise InputError(f"no image among {', '.join(data)}; name files in the folder of the export")
            answers = _answers(task, control, list(references), tally)
            if not answers:
                tally.drop("tasks without an answer")
                continue
            images = tuple(image_of_reference(each, folder, f"{key} of {name}") for key, each in references.items())
            prompt, (systems, seeds) = checked.prompt_in(data), _about(task, len(images))
            first, *others = images
            if others:
                votes = tuple(Vote(rater, tuple(map(int, ranks))) for rater, ranks in answers)
                yield checked_set(RankedSet(prompt, images, aggregate(votes, len(images)), votes, systems, seeds))
            else:
                first.open()
                about = (systems or ("",))[0], (seeds or (None,))[0]
                ratings += [Rating(prompt, first, {rater: stars}, *about) for rater, (stars,) in answers]
    yield from rated_sets(ratings, tally)


def _files(path: Path) -> list[Path]:
    found = sorted(path.glob("*.json")) if path.is_dir() else [path]
    firsts = [(file, first_object(file) or {}) for file in found]
    return [file for file, first in firsts if first.keys() >= {"data", "annotations"} or first.keys() >= _MINIMAL]


def _tasks(file: Path, tally: Tally) -> Iterator[tuple[str, Any, Path]]:
    """Each task with its name and its folder."""
    for number, (_, task) in enumerate(read_table(file, "export", tally)):
        if isinstance(task, dict) and task.keys() >= _MINIMAL:
            raise InputError(f"{file} is the short export JSON-MIN, which lacks the annotations; export JSON")
        yield f"task {task.get('id', number) if isinstance(task, dict) else number} of {file}", task, file.parent


def _data(task: Any) -> dict[str, Any]:
    if not isinstance(task, dict) or not isinstance(task.get("data"), dict):
        raise InputError("it is not a task with data and annotations; export it again")
    return task["data"]


def _control(tasks: Iterable[tuple[str, Any, Path]], path: Path) -> str:
    """The name of the control with most answers that prefer some image; the first of several with equally many."""
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
    """The results that are about images, with their ranks or stars; None where these are not valid."""
    for result in results:
        try:
            if (values := _answer(result, keys)) is not None:
                yield result, values
        except InputError:
            yield result, None


def _answers(
    task: Mapping[str, Any], control: str, keys: Sequence[str], tally: Tally
) -> list[tuple[str, tuple[float, ...]]]:
    """Each rater's ranks of the images [n], or the stars of a single image."""
    answers, kept = [], list(_kept(task))
    tally.drop("cancelled annotations", len(_dicts(task.get("annotations"))) - len(kept))
    for what, name in (("drafts", "drafts"), ("predictions", "predictions of models")):
        tally.drop(name, len(task[what]) if isinstance(task.get(what), list) else 0)
    for rater, results in kept:
        mine = [result for result in results if str(result.get("from_name")) == control]
        others = [result for result in results if result not in mine]
        tally.drop("answers to other questions", len(list(_about_images(others, keys))))
        if not mine:
            tally.drop("annotations without an answer")
            continue
        values = _answer(mine[0], keys)
        if values is None or len(mine) > 1:
            said = ", ".join(f"{each.get('value')!s:.80}" for each in mine)
            raise InputError(f"the answer {said} does not say which of {', '.join(keys)} is best; correct or delete it")
        answers.append((rater, values))
    return answers


def _answer(result: Mapping[str, Any], keys: Sequence[str]) -> tuple[float, ...] | None:
    value, kind = result.get("value"), result.get("type")
    if not isinstance(value, dict) or not keys:
        return None
    if len(keys) == 1:
        stars = value.get("rating") if kind == "rating" else None
        return (
            None if stars is None or isinstance(stars, (str, bool)) else (checked.finite_number(stars, "the rating"),)
        )
    if kind == "ranker":
        return ranks_of_order(_groups(value.get("ranker"), result.get("from_name")), keys)
    return ranks_of_choice(value.get("choices") if kind == "choices" else [value.get("selected")], keys)


def _groups(ranker: Any, name: Any) -> list[list[str]]:
    """The images from the best to the worst: a list, the list under the tag's name, or the buckets in their order."""
    if isinstance(ranker, dict):
        full = {str(bucket): ids for bucket, ids in ranker.items() if ids}
        numbers = {bucket: rank for bucket in full if (rank := bucket_rank(bucket)) is not None}
        if len(ranker) == 1 and (not numbers or name in full):
            (ranker,) = ranker.values()
        elif len(numbers) < len(full):
            raise InputError(f"the buckets {', '.join(full)} have no order; name them rank 1, rank 2 and so on")
        else:
            ranker = [full[bucket] for bucket in sorted(full, key=numbers.__getitem__)]
    listed = ranker if isinstance(ranker, list) else []
    return [[str(one) for one in (each if isinstance(each, list) else [each])] for each in listed]


def _named(results: Iterable[Mapping[str, Any]]) -> str:
    """The rater that our own export names; someone else may have imported the vote into Label Studio."""
    metas = (result.get("meta") for result in results)
    found = next((meta[RATER] for meta in metas if isinstance(meta, dict) and isinstance(meta.get(RATER), str)), "")
    return checked.optional_name(found, "the rater")


def _rater(completed_by: Any) -> str:
    """A name of the annotator: the email address, the name or the number in the export."""
    if isinstance(completed_by, dict):
        parts = [checked.optional_name(completed_by.get(part), f"the {part}") for part in ("first_name", "last_name")]
        name = checked.optional_name(completed_by.get("email"), "the email") or " ".join(parts).strip()
        return name or _rater(completed_by.get("id"))
    number = checked.optional_name(completed_by, "completed_by")
    return f"user {number}" if number else "unknown"


def _about(task: Mapping[str, Any], n: int) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """The systems and the seeds of the n images in `meta`; empty where they are not there."""
    meta = task.get("meta")
    systems, seeds = (meta.get(key) if isinstance(meta, dict) else None for key in (SYSTEMS, SEEDS))
    return (
        tuple(checked.optional_name(each, "a system") for each in systems)
        if isinstance(systems, list) and len(systems) == n
        else (),
        tuple(checked.integer(each, "a seed") for each in seeds) if isinstance(seeds, list) and len(seeds) == n else (),
    )


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


READER = FormatReader(matches, read, "Label Studio's JSON export")
