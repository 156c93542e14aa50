"""Feedback that is held out of training, by prompt."""

from __future__ import annotations

from typing import TypeVar

import numpy as np

from palate.core.errors import InputError
from palate.core.seeds import derive
from palate.records.columns import Grades, Rankings

F = TypeVar("F", Rankings, Grades)


def split_by_prompt(feedback: F, share: float) -> tuple[F, F]:
    """The feedback to train on, and the feedback of a share of the prompts, which is held out.

    A prompt is in one of the two only. Which prompts are held out depends on their texts alone, so it is the same for
    every seed, method and order of the data: the prompts are sorted by a number derived from the text, and the first
    `share` of them are taken, at least one and never all.

    Args:
        feedback: ranked sets or graded images.
        share: above 0 and below 1.

    Raises:
        InputError: all of the feedback has one prompt.
    """
    present = np.unique(feedback.prompt)
    if len(present) < 2:
        fix = "give other preferences with --held-out, or leave it out"
        raise InputError(f"feedback is held out by prompt, and the preferences have one prompt only; {fix}")
    by_text = sorted(present.tolist(), key=lambda number: derive(0, "held out", feedback.prompts[number]))
    count = min(max(1, round(share * len(present))), len(present) - 1)
    held_out = np.isin(feedback.prompt, by_text[:count])
    return feedback.take(np.flatnonzero(~held_out)), feedback.take(np.flatnonzero(held_out))
