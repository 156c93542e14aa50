"""Scorers that compare the images of a prompt with each other, and so must see all of them together.

Such a scorer has an attribute `within_prompt = True`. Its scores of images of different prompts cannot be compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from palate.core.errors import InputError

if TYPE_CHECKING:
    from PIL import Image

    from palate.score.base import Scorer


def compares_images(scorer: Scorer) -> bool:
    """Whether a scorer must see all images of a prompt together."""
    return bool(getattr(scorer, "within_prompt", False))


def refuse_comparing(scorers: Iterable[Scorer], what: str) -> None:
    """Raises InputError if a scorer only compares the images of a prompt, which a use cannot work with.

    Args:
        scorers: some scorers.
        what: the use as a clause, such as "an evaluation compares images of two models".
    """
    for scorer in scorers:
        if compares_images(scorer):
            fix = "name its parts, or another scorer"
            raise InputError(f"{scorer.name} only compares the images of a prompt with each other, but {what}; {fix}")


def whole_prompts(prompts: Sequence[str], batch: int) -> Iterator[list[int]]:
    """Batches of places in a list of prompts, each with all places of some prompts.

    A batch has at most `batch` places, unless one prompt alone has more.

    >>> list(whole_prompts(["a", "b", "a", "c"], 3))
    [[0, 2, 1], [3]]
    """
    places: dict[str, list[int]] = {}
    for place, prompt in enumerate(prompts):
        places.setdefault(prompt, []).append(place)
    found: list[int] = []
    for each in places.values():
        if found and len(found) + len(each) > batch:
            yield found
            found = []
        found = found + each
    if found:
        yield found


def score_in_batches(scorer: Scorer, images: Sequence[Image.Image], prompts: Sequence[str], batch: int) -> list[float]:
    """The scores [B] of B images, at most `batch` of them at once.

    A composite is computed from its parts' scores. Another scorer that compares images takes all images of a prompt at
    once, however many they are.

    Raises:
        InputError: the scorer does not give one number per image.
    """
    from palate.score.base import score_images

    combined: Any = scorer
    if parts := getattr(scorer, "parts", ()):
        return combined.combine([score_in_batches(part, images, prompts, batch) for part in parts], prompts)
    places = range(len(images))
    chunks = (
        whole_prompts(prompts, batch)
        if compares_images(scorer)
        else (places[start : start + batch] for start in places[::batch])
    )
    scores = [0.0] * len(images)
    for chunk in chunks:
        values = score_images(scorer, [images[place] for place in chunk], [prompts[place] for place in chunk])
        for place, value in zip(chunk, values, strict=True):
            scores[place] = value
    return scores
