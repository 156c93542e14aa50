"""The scores of images of a folder: computed, kept from earlier runs, or combined from those of a composite's parts."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from palate.core.progress import note
from palate.records.image_folder import ImageRecord
from palate.score.score_cache import KeptScores
from palate.score.within_prompt import compares_images, whole_prompts

if TYPE_CHECKING:
    from PIL import Image

    from palate.score.base import Scorer

FROM_CACHE = "scores from the cache"
Row: TypeAlias = dict[str, Any]


class ScoreColumns:
    """Scores of records by several scorers.

    Args:
        scorers: the scorers; of a composite, the parts are asked.
        batch: the number of images that are decoded and scored at once.
        cache: whether scores are kept in the cache folder, and taken from there.

    Attributes:
        found: how many scores were taken from the cache, by the scorer's name.
    """

    def __init__(self, scorers: Sequence[Scorer], batch: int, *, cache: bool) -> None:
        self._scorers, self._batch, self.found = scorers, batch, Counter[str]()
        single = (part for scorer in scorers for part in getattr(scorer, "parts", (scorer,)))
        self._asked = {scorer.name: scorer for scorer in single}
        self._kept = {name: KeptScores(each) for name, each in self._asked.items() if cache and _repeatable(each)}

    def batches(self, records: Sequence[ImageRecord]) -> Iterator[list[ImageRecord]]:
        """Records in batches; whole prompts if a scorer compares their images."""
        if any(map(compares_images, self._scorers)):
            for places in whole_prompts([record.prompt for record in records], self._batch):
                yield [records[place] for place in places]
            return
        for start in range(0, len(records), self._batch):
            yield list(records[start : start + self._batch])

    def __call__(self, records: Sequence[ImageRecord]) -> dict[str, list[float]]:
        """The scores [B] of a batch of `batches`, by the scorer's name; one that is not finite is not kept."""
        found: dict[str, list[float]] = {name: [] for name in self._asked}
        for start in range(0, len(records), self._batch):
            chunk = _Chunk(records[start : start + self._batch])
            for name, scorer in self._asked.items():
                if not compares_images(scorer):
                    found[name] += self._column(name, chunk)
        for name, scorer in self._asked.items():
            if compares_images(scorer):
                found[name] = self._column(name, _Chunk(records))
        prompts, columns = [record.prompt for record in records], {}
        for scorer in self._scorers:
            combined: Any = scorer
            parts = [found[part.name] for part in getattr(scorer, "parts", ())]
            columns[scorer.name] = combined.combine(parts, prompts) if parts else found[scorer.name]
        return columns

    def counts(self) -> dict[str, int]:
        """Entries of a summary."""
        return {f"{FROM_CACHE} of {name}": count for name, count in self.found.items() if count}

    def _column(self, name: str, chunk: _Chunk) -> list[float]:
        """The scores of a chunk by one scorer."""
        from palate.score.base import score_images

        kept, records = self._kept.get(name), chunk.records
        keys = [kept.key(record.image.digest(), record.prompt) for record in records] if kept else []
        known = kept.get(keys) if kept else {}
        scores = [known.get(key) for key in keys] if kept else [None] * len(records)
        places = [place for place, score in enumerate(scores) if score is None]
        self.found[name] += len(records) - len(places)
        if not places:
            return [score for score in scores if score is not None]
        prompts = [records[place].prompt for place in places]
        values = score_images(self._asked[name], chunk.images(places), prompts)
        if kept:
            kept.put({keys[place]: value for place, value in zip(places, values) if math.isfinite(value)})
        new = dict(zip(places, values, strict=True))
        return [new[place] if score is None else score for place, score in enumerate(scores)]


class _Chunk:
    """Some records, whose images are decoded when a scorer asks for them, and once for all scorers."""

    def __init__(self, records: Sequence[ImageRecord]) -> None:
        self.records = records
        self._images: dict[int, Image.Image] = {}

    def images(self, places: Sequence[int]) -> list[Image.Image]:
        for place in places:
            if place not in self._images:
                self._images[place] = self.records[place].image.open()
        return [self._images[place] for place in places]


def rows_of_whole_prompts(kept: Sequence[Row], before: Sequence[Row], prompts: Iterable[str]) -> list[Row]:
    """The kept rows of those prompts of which nothing has changed: no image is new, gone or changed.

    Args:
        kept: the rows of images that are unchanged.
        before: all rows of the run, among them the kept ones.
        prompts: the prompt of each image of the folder.
    """
    now, then = Counter(prompts), Counter(row["prompt"] for row in before)
    held = Counter(row["prompt"] for row in kept)
    return [row for row in kept if now[row["prompt"]] == then[row["prompt"]] == held[row["prompt"]]]


def note_images_alone(scorers: Iterable[Scorer], prompts: Iterable[str]) -> dict[str, int]:
    """Prints how many images are alone in their prompt, if a scorer compares images; an entry of a summary."""
    counts = Counter(prompts)
    lone = sum(count == 1 for count in counts.values())
    names = [scorer.name for scorer in scorers if compares_images(scorer)]
    if not names or not lone:
        return {}
    note(f"{lone} of {counts.total()} images are the only one of their prompt: {names[0]} has nothing to compare there")
    return {"images alone in their prompt": lone}


def _repeatable(scorer: Scorer) -> bool:
    return getattr(scorer, "repeatable", True) and not compares_images(scorer)
