"""The page of `palate reward order`: the order, how clear each difference is, and images of every source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from palate import __version__
from palate.core.files import write_atomic
from palate.core.statistics import ENOUGH, RESAMPLES
from palate.evaluate.ranking import Order, Placed, Step
from palate.evaluate.report.pictures import chosen_pairs
from palate.report.charts import Strip, axis, strip
from palate.report.number_format import all_numbers, interval_text, percent, single_number, writer
from palate.report.page import flatten, template
from palate.report.thumbnails import data_uri, thumbnail

PROMPTS = 8
"""How many prompts are shown."""


@dataclass(frozen=True)
class PlaceRow:
    """The row of a source in the order."""

    place: int
    name: str
    score: str
    ends: str
    images: int
    strip: Strip


@dataclass(frozen=True)
class StepRow:
    """The row of two neighbours; `tone` is good where their difference is clear, else open."""

    ahead: str
    behind: str
    difference: tuple[str, str]
    win_rate: tuple[str, str]
    tone: str
    word: str
    strip: Strip


@dataclass(frozen=True)
class SourcePicture:
    """The first image of a source for a prompt."""

    source: str
    uri: str
    width: int
    height: int
    score: str


def write_order(path: Path, order: Order, config: Mapping[str, Any]) -> None:
    """Writes the page; after an error, the file is as it was before.

    Args:
        path: the path of the file.
        order: the order that was found.
        config: the configuration.
    """
    write_atomic(path, render_order(order, config))


def render_order(order: Order, config: Mapping[str, Any]) -> str:
    """The HTML of the page; arguments as for `write_order`."""
    return template("order.html.jinja", "palate.evaluate.report").render(
        version=__version__,
        order=order,
        sentence=order_sentence(order),
        places=place_rows(order.placed),
        steps=step_rows(order.steps),
        shown=source_gallery(order),
        config=flatten(config),
        enough=ENOUGH,
        resamples=RESAMPLES,
    )


def order_sentence(order: Order) -> str:
    """The result in one sentence."""
    first, *rest = (each.source.name for each in order.placed)
    begun = f"{first} scores best, then {', then '.join(rest)}"
    words = {step.word for step in order.steps}
    if len(words) == 1 and (len(order.steps) == 1 or not order.steps[0].difference.known):
        return f"{begun} ({words.pop()})."
    clear = sum(step.clear for step in order.steps)
    said = {0: "no step is clear", len(order.steps): "every step is clear"}
    some = f"{clear} of {len(order.steps)} steps from one to the next {'is' if clear == 1 else 'are'} clear"
    return f"{begun}; {said.get(clear, some)}."


def place_rows(placed: Sequence[Placed]) -> list[PlaceRow]:
    """One row for each source, all on one axis."""
    numbers = all_numbers(*(each.score for each in placed))
    write, (low, high) = writer(numbers), axis(numbers, 0.1)
    scale = (write(low), write(high))
    return [
        PlaceRow(
            place,
            each.source.name,
            write(each.score.value),
            interval_text(each.score, write),
            each.score.n,
            strip({"aligned": each.score}, low, high, ends=scale),
        )
        for place, each in enumerate(placed, 1)
    ]


def step_rows(steps: Sequence[Step]) -> list[StepRow]:
    """One row for each pair of neighbours, all on one axis that has zero on it."""
    numbers = [*all_numbers(*(step.difference for step in steps)), 0.0]
    write, by, (low, high) = writer(numbers), writer(numbers, sign=True), axis(numbers, 0.1)
    scale = (write(low), write(high))
    return [
        StepRow(
            step.ahead,
            step.behind,
            (by(step.difference.value), interval_text(step.difference, by)),
            (percent(step.win_rate.value), interval_text(step.win_rate)),
            "good" if step.clear else "open",
            step.word,
            strip({"aligned" if step.clear else "base": step.difference}, low, high, 0.0, scale),
        )
        for step in steps
    ]


def source_gallery(order: Order) -> list[tuple[str, list[SourcePicture]]]:
    """Evenly spaced prompts, not chosen by result, each with the first image of every source in their order."""
    prompts = [order.prompts[p] for p, _ in chosen_pairs(len(order.prompts), 1, PROMPTS)]
    return [(prompt, [_picture(each, prompt) for each in order.placed]) for prompt in prompts]


def _picture(placed: Placed, prompt: str) -> SourcePicture:
    image = thumbnail(placed.source.images[prompt][0].image.open())
    return SourcePicture(placed.source.name, data_uri(image), *image.size, single_number(placed.scores[prompt][0]))
