"""The answers that a rater can give to a screen, and their meaning: ranks of the images by place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from palate.collect.characters import typed_text
from palate.collect.config import LARGEST_SET, Task
from palate.core.errors import InputError
from palate.records.ranked import rank

PAIR = ("left", "right", "tie", "both_bad")
SKIPS = ("unsure", "loading", "other")
FLAGS = ("unsafe", "broken", "unreadable")
STARS = (1, 2, 3, 4, 5)
LONGEST_REASON = 200


def ranks_of_answer(task: Task, answer: Any, order: Sequence[int]) -> list[int]:
    """The ranks by place [n] of an answer to one question; 1 is best, and ties share a rank.

    Args:
        task: the task of the study.
        answer: pairwise, one of `PAIR`; best, the position of the best image from 0, or `tie` or `all_bad`; ranking, a
            rank for each position [n], ties allowed; rating, 1 to 5 for each position [n]. A rating's ranks are within
            the screen; the stars themselves are kept beside them.
        order: the place of the image at each position.

    Raises:
        InputError: the answer is none of these.
    """
    by_position = _by_position(task, answer, len(order))
    ranks = [0] * len(order)
    for position, place in enumerate(order):
        ranks[place] = by_position[position]
    return ranks


def checked_answers(task: Task, answers: Any, questions: Sequence[str], order: Sequence[int]) -> dict[str, list[int]]:
    """The ranks by place of every question.

    Raises:
        InputError: a question is missing or unknown, or an answer is not valid.
    """
    if not isinstance(answers, Mapping) or set(answers) != set(questions):
        raise InputError(f"answer each question once: {', '.join(questions)}")
    return {question: ranks_of_answer(task, answers[question], order) for question in questions}


def checked_reason(kind: str, reason: Any) -> str:
    """The reason of a skip or a flag, without characters that change the direction of text.

    Raises:
        InputError: the reason is not valid.
    """
    known = {"skip": SKIPS, "flag": FLAGS}.get(kind)
    if known is None:
        raise InputError(f"a vote is an answer, a skip or a flag, not {kind!r:.80}")
    if not isinstance(reason, str) or len(reason) > LONGEST_REASON or reason.partition(":")[0] not in known:
        raise InputError(f"the reason of a {kind} is one of {', '.join(known)}, with your own words after a colon")
    try:
        return typed_text(reason)
    except ValueError as error:
        raise InputError(f"the reason cannot be kept: {error}; leave that out") from error


def _by_position(task: Task, answer: Any, n: int) -> list[int]:
    if task == "pairwise":
        if answer not in PAIR:
            raise InputError(f"the answer is one of {', '.join(PAIR)}, not {answer!r:.80}")
        return {"left": [1, 2], "right": [2, 1]}.get(answer, [1, 1])
    if task == "best":
        if answer in ("tie", "all_bad"):
            return [1] * n
        if not _whole(answer) or not 0 <= answer < n:
            raise InputError(f"the answer is a position from 0 to {n - 1}, tie or all_bad, not {answer!r:.80}")
        return [1 if position == answer else 2 for position in range(n)]
    low, high = (1, LARGEST_SET) if task == "ranking" else (STARS[0], STARS[-1])
    if not isinstance(answer, list) or len(answer) != n or not all(_whole(a) and low <= a <= high for a in answer):
        raise InputError(f"the answer is {n} whole numbers from {low} to {high}, not {answer!r:.80}")
    return list(rank(answer if task == "ranking" else [-stars for stars in answer]))


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
