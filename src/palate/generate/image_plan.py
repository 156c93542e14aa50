"""The list of images to generate, with their prompts and seeds: the same for every model, so that runs are paired."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from palate.core.errors import InputError
from palate.core.seeds import derive


@dataclass(frozen=True)
class PlannedImage:
    """One image to generate; `image_index` counts the images of a prompt."""

    prompt_index: int
    image_index: int
    prompt: str
    seed: int

    @property
    def file_name(self) -> str:
        """Its file, relative to the run folder or to the folder of its shard."""
        return f"images/{self.prompt_index:05d}-{self.image_index:03d}.png"

    def candidate(self, number: int) -> PlannedImage:
        """Candidate `number` for this image: the same prompt with another seed; candidate 0 is the image itself.

        Its seed depends only on the image's prompt and seed and on `number`. So the candidates are the same for every
        model, and a smaller number of candidates are the first of a larger number.
        """
        return replace(self, seed=derive(self.seed, "candidate", self.prompt, number) >> 31) if number else self


def plan_images(prompts: Sequence[str], images_per_prompt: int, seed: int = 0) -> list[PlannedImage]:
    """Every image of a run, by prompt and then by image.

    An image's seed depends on `(seed, prompt, image_index)` alone, so it is the same in a longer or shorter run and
    for every model. Seeds have 32 bits, which other tools accept too.
    """
    return [
        PlannedImage(prompt_index, image_index, prompt, derive(seed, "image", prompt, image_index) >> 31)
        for prompt_index, prompt in enumerate(prompts)
        for image_index in range(images_per_prompt)
    ]


def parse_shard(shard: str) -> tuple[int, int]:
    """Parses `i/n`: `"0/2"` becomes (0, 2), the first of two equal parts.

    Raises:
        InputError: it is not `i/n` with 0 <= i < n.
    """
    index, _, count = shard.partition("/")
    if index.isdigit() and count.isdigit() and int(index) < int(count):
        return int(index), int(count)
    raise InputError(f"a shard must be i/n with i from 0 to n - 1, such as 0/2 and 1/2, not {shard!r}")
