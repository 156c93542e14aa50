"""Training examples in columns: n images under m prompts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from palate.core.errors import InputError
from palate.core.seeds import derive
from palate.records.images import StoredImage
from palate.training.cache import digest


@dataclass(frozen=True)
class Example:
    """n images of a prompt, under that prompt and others.

    Attributes:
        images: [n].
        prompts: [m], the images' own first.
        facts: what the loss reads [k].
        weight: how much the example counts.
    """

    images: tuple[StoredImage, ...]
    prompts: tuple[str, ...]
    facts: tuple[float, ...]
    weight: float = 1.0


@dataclass(frozen=True, eq=False)
class Examples:
    """N examples as indices; where one has fewer images than another, its first image fills the places.

    Attributes:
        images: the distinct images.
        prompts: the distinct prompts.
        image: of each example [N, n].
        prompt: of each example [N, m].
        facts: of each example [N, k], float32.
        weight: of each example [N], float32, of mean 1.
    """

    images: tuple[StoredImage, ...]
    prompts: tuple[str, ...]
    image: np.ndarray
    prompt: np.ndarray
    facts: np.ndarray
    weight: np.ndarray

    @classmethod
    def of(cls, examples: Sequence[Example]) -> Examples:
        """Gathers examples.

        Raises:
            InputError: there are none.
        """
        if not examples:
            raise InputError("there is nothing to learn from: no example is left; give more feedback")
        images: dict[str, tuple[int, StoredImage]] = {}
        prompts: dict[str, int] = {}
        n = max(len(example.images) for example in examples)

        def number(image: StoredImage) -> int:
            return images.setdefault(image.digest(), (len(images), image))[0]

        image = [[*map(number, each.images)] + [number(each.images[0])] * (n - len(each.images)) for each in examples]
        prompt = [[prompts.setdefault(text, len(prompts)) for text in example.prompts] for example in examples]
        facts = np.array([example.facts for example in examples], dtype=np.float32)
        weight = np.array([example.weight for example in examples], dtype=np.float32)
        found = tuple(each for _, each in images.values())
        return cls(found, tuple(prompts), np.array(image), np.array(prompt), facts, weight / weight.mean())

    def __len__(self) -> int:
        return len(self.image)

    def digest(self) -> str:
        """A short name for what there is to learn from."""
        columns = [each.tolist() for each in (self.image, self.prompt, self.facts, self.weight)]
        return digest([image.digest() for image in self.images], self.prompts, columns)

    def own_prompts(self) -> list[str]:
        """The prompt that each example's images were made from [N]."""
        return [self.prompts[row] for row in self.prompt[:, 0]]

    def take(self, rows: np.ndarray) -> Examples:
        """Some of the examples, of the same images and prompts."""
        weight = self.weight[rows]
        columns = {name: getattr(self, name)[rows] for name in ("image", "prompt", "facts")}
        return replace(self, **columns, weight=weight / weight.mean() if len(rows) else weight)


def fold_of(prompts: Iterable[str], folds: int, seed: int) -> dict[str, int]:
    """The fold, 0 .. folds - 1, of each distinct prompt: in a keyed order, dealt out in turn."""
    order = sorted(set(prompts), key=lambda prompt: derive(seed, "fold", prompt))
    return {prompt: place % folds for place, prompt in enumerate(order)}


def held_out(prompts: Iterable[str], share: float, seed: int) -> frozenset[str]:
    """The prompts that are kept for validation: a keyed `share` of them.

    At least one where the share is not 0, and never all: one prompt alone is learned from.
    """
    order = sorted(set(prompts), key=lambda prompt: derive(seed, "validation", prompt))
    return frozenset(order[: min(max(round(share * len(order)), share > 0), len(order) - 1)])
