"""Training examples in columns: n images under m prompts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from palate.core.cache_folder import array_digest, digest, texts_digest
from palate.core.errors import InputError
from palate.core.seeds import derive
from palate.records.image_columns import Images, first_seen


@dataclass(frozen=True, eq=False)
class RewardExamples:
    """N examples as indices, each of n images and m prompts.

    Attributes:
        images: the distinct images.
        prompts: the distinct prompts.
        image: the numbers of each example's images [N, n]; unused places have the number of its first image.
        prompt: the numbers of each example's prompts [N, m]; the first is the images' own.
        facts: numbers that the loss reads [N, k], float32.
        weight: the weight of each example in the loss [N], float32, with mean 1.
    """

    images: Images
    prompts: list[str]
    image: np.ndarray
    prompt: np.ndarray
    facts: np.ndarray
    weight: np.ndarray

    @classmethod
    def of(
        cls,
        images: Images,
        image: np.ndarray,
        prompts: list[str],
        prompt: np.ndarray,
        facts: np.ndarray,
        weight: np.ndarray | None = None,
    ) -> RewardExamples:
        """Gathers examples; images and prompts are numbered in the order in which they first appear.

        Args:
            images: the images of the feedback.
            image: the numbers of each example's images among these [N, n].
            prompts: the distinct prompts of the feedback.
            prompt: the numbers of each example's prompts among these [N, m].
            facts: see `RewardExamples` [N, k].
            weight: see `RewardExamples` [N]; the same for all when left out.

        Raises:
            InputError: there are none.
        """
        if not len(image):
            raise InputError("there is nothing to learn from: no example is left; give more feedback")
        number, first = first_seen(image.ravel())
        of_prompt, first_prompt = first_seen(prompt.ravel())
        weight = np.ones(len(image), np.float32) if weight is None else weight.astype(np.float32)
        return cls(
            images.take(image.ravel()[first]),
            [prompts[place] for place in prompt.ravel()[first_prompt].tolist()],
            number.reshape(image.shape),
            of_prompt.reshape(prompt.shape),
            facts.astype(np.float32),
            weight / weight.mean(),
        )

    def __len__(self) -> int:
        return len(self.image)

    def digest(self) -> str:
        """A digest of the examples."""
        arrays = (self.images.digest, self.image, self.prompt, self.facts, self.weight)
        return digest(texts_digest(self.prompts), *map(array_digest, arrays))

    def own_prompts(self) -> list[str]:
        """The prompt of each example's images [N]."""
        return [self.prompts[row] for row in self.prompt[:, 0]]

    def take(self, rows: np.ndarray) -> RewardExamples:
        """Some of the examples, with the same images and prompts."""
        weight = self.weight[rows]
        columns = {name: getattr(self, name)[rows] for name in ("image", "prompt", "facts")}
        return replace(self, **columns, weight=weight / weight.mean() if len(rows) else weight)


def fold_of(prompts: Iterable[str], folds: int, seed: int) -> dict[str, int]:
    """The fold, 0 .. folds - 1, of each distinct prompt: prompts in a keyed order go to the folds in turn."""
    order = sorted(set(prompts), key=lambda prompt: derive(seed, "fold", prompt))
    return {prompt: place % folds for place, prompt in enumerate(order)}


def held_out(prompts: Iterable[str], share: float, seed: int) -> frozenset[str]:
    """The prompts that are held out for validation: a share of them, in a keyed order.

    At least one if the share is not 0, but never all of them: a single prompt is not held out.
    """
    order = sorted(set(prompts), key=lambda prompt: derive(seed, "validation", prompt))
    return frozenset(order[: min(max(round(share * len(order)), share > 0), len(order) - 1)])
