"""Ranked sets from images that were rated one at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from statistics import fmean

from palate.records.images import StoredImage
from palate.records.ranked import RankedSet, Vote, rank
from palate.records.tally import Tally


@dataclass(frozen=True)
class Rating:
    """The ratings of one image by rater: stars, or any other number where more is better."""

    prompt: str
    image: StoredImage
    stars: Mapping[str, float]
    system: str = ""
    seed: int | None = None


def rated_sets(ratings: Iterable[Rating], tally: Tally) -> Iterator[RankedSet]:
    """Ranked sets from images that were rated one at a time: the images of a prompt, ranked by their mean stars.

    An image's stars are the mean over its raters, where several ratings of one rater are first averaged; equal means
    share a rank, and the means are kept as the scores `stars`. The ratings of a rater who rated every image of the
    prompt are also kept as a vote. The ratings of the other raters are only in the means; they are counted in `tally`,
    as are prompts of which only one image was rated. The same image of two systems or seeds is one image, with the
    first of them, and is counted. The ranks follow the means and not the votes, because a vote cannot represent how
    many stars two images differ by.
    """
    prompts: dict[str, dict[StoredImage, list[Rating]]] = {}
    for each in ratings:
        prompts.setdefault(each.prompt, {}).setdefault(each.image, []).append(each)
    for prompt, images in prompts.items():
        origins = sum(len({(each.system, each.seed) for each in same}) for same in images.values())
        tally.drop("images that are the same as another of their prompt", origins - len(images))
        if len(images) < 2:
            tally.drop("prompts with a single rated image")
            continue
        stars = [_by_rater(same) for same in images.values()]
        raters = [rater for rater in stars[0] if all(rater in each for each in stars)]
        tally.drop("ratings that are in no vote", sum(len(each) - len(raters) for each in stars))
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


def _by_rater(ratings: Iterable[Rating]) -> dict[str, float]:
    given: dict[str, list[float]] = {}
    for each in ratings:
        for rater, stars in each.stars.items():
            given.setdefault(rater, []).append(stars)
    return {rater: fmean(stars) for rater, stars in given.items()}
