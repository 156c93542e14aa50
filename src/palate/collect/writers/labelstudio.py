"""Label Studio's JSON: `tasks.json`, its images in `images/`, and `config.xml`, the labelling interface of the tasks.

Each item is a task, and each rater's vote an annotation. A pair and the best of n are Choices among the images' names,
or `tie` or `both_bad`; a ranking is a Ranker with a bucket for each rank, because an ordered list has no ties;
stars are a Rating. The `meta` of a task has the systems and seeds, which annotators do not see, and the `meta` of a
result has the rater: Label Studio refuses annotations by people without an account there, so `completed_by` cannot name
them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

from palate.collect.config import Task
from palate.collect.writers.ballots import Asked, Ballot
from palate.collect.writers.picture_files import name_of, place_images
from palate.core.files import write_atomic
from palate.core.json_files import write_json
from palate.prefer.formats.labelstudio import ALL_BAD, BOTH_BAD, RATER, SEEDS, SERVED, SYSTEMS, TIE, bucket_name

TIES = {"pairwise": (TIE, BOTH_BAD), "best": (TIE, ALL_BAD)}
LIST = "images"


def write(folder: Path, asked: Sequence[Asked], task: Task, question: str, wording: str) -> dict[str, int]:
    """Writes every item with its votes; no answer to this question is lost.

    Args:
        question: the short name of the question, from which the control's name is made.
        wording: the text that raters read.

    Returns:
        How many tasks and annotations there are.
    """
    control = re.sub(r"\W+", "_", question).strip("_")[:40] or "answer"
    rows = [_task(each, task, control) for each in asked]
    place_images((image for each in asked for image in each.images), folder / "images")
    n = max(len(each.images) for each in asked)
    write_atomic(folder / "config.xml", _interface(task, control, wording, n))
    write_json(folder / "tasks.json", rows, ascii=False)
    return {"tasks": len(rows), "annotations": sum(len(each.ballots) for each in asked)}


def _task(asked: Asked, task: Task, control: str) -> dict[str, Any]:
    files = {f"image{number}": f"{SERVED}images/{name_of(image)}" for number, image in enumerate(asked.images, 1)}
    shown = [{"id": key, "html": f'<img src="{file}">'} for key, file in files.items()]
    return {
        "id": asked.item,
        "data": {"prompt": asked.prompt, **({LIST: shown} if task == "ranking" else files)},
        "meta": {SYSTEMS: list(asked.systems), SEEDS: list(asked.seeds)},
        "annotations": [_annotation(each, asked.item, task, control, list(files)) for each in asked.ballots],
        "predictions": [],
    }


def _annotation(ballot: Ballot, item: int, task: Task, control: str, keys: Sequence[str]) -> dict[str, Any]:
    kind, value = _value(ballot, task, keys)
    said = {"from_name": control, "to_name": LIST if task == "ranking" else keys[0], "type": kind, "value": value}
    made = datetime.fromtimestamp(ballot.created, UTC).isoformat()
    return {
        "id": ballot.vote,
        "result": [{"id": f"vote{ballot.vote}", **said, "meta": {RATER: ballot.rater}}],
        "was_cancelled": False,
        "ground_truth": False,
        "created_at": made,
        "updated_at": made,
        "lead_time": ballot.seconds,
        "task": item,
    }


def _value(ballot: Ballot, task: Task, keys: Sequence[str]) -> tuple[str, dict[str, Any]]:
    if task == "rating":
        return "rating", {"rating": ballot.stars[0]}
    if task == "ranking":
        buckets = {bucket_name(rank): [] for rank in range(1, len(keys) + 1)}
        for key, rank in zip(keys, ballot.ranks):
            buckets[bucket_name(rank)].append(key)
        return "ranker", {"ranker": buckets}
    return "choices", {"choices": [ballot.tie or keys[ballot.ranks.index(1)]]}


def _interface(task: Task, control: str, wording: str, n: int) -> str:
    names, ranks = ([name(number) for number in range(1, n + 1)] for name in ("image{}".format, bucket_name))
    shown = [f'<Image name="{each}" value="${each}"/>' for each in names]
    about = f'name={quoteattr(control)} toName="{LIST if task == "ranking" else names[0]}"'
    if task == "rating":
        answer = [f'<Rating {about} maxRating="5"/>']
    elif task == "ranking":
        shown = [f'<List name="{LIST}" value="${LIST}"/>']
        answer = [f"<Ranker {about}>", *(f'  <Bucket name="{each}" title="{each}"/>' for each in ranks), "</Ranker>"]
    else:
        answer = [
            f"<Choices {about}>",
            *(f'  <Choice value="{each}"/>' for each in [*names, *TIES[task]]),
            "</Choices>",
        ]
    text = ['<Text name="prompt" value="$prompt"/>', *shown, f"<Header value={quoteattr(wording)}/>", *answer]
    return "\n".join(["<View>", *(f"  {line}" for line in text), "</View>"]) + "\n"
