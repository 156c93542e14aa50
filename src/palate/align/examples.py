"""Training examples in columns: n images of one prompt, best first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from palate.core.cache_folder import array_digest, digest, texts_digest
from palate.core.errors import InputError
from palate.records.columns import Grades, Rankings
from palate.records.image_columns import Images, first_seen, numbered


@dataclass(frozen=True, eq=False)
class Examples:
    """N examples as indices. A *view* is an image with a prompt and a key; errors are measured per view.

    An image in several pairs of one ranked set is one view, so that its error under the base model is computed once.

    Attributes:
        prompts: the distinct prompts; the first is empty, for prompt dropout.
        images: the distinct images.
        keys: the distinct keys, such as the identities of ranked sets; views with the same key share their randomness.
        prompt, image, key: the number of the prompt, image and key of each view, [V] each.
        view: the numbers of the views of each example [N, n].
        weight: the weight of each example in the loss [N], float32.
        facts: numbers that the method's loss reads [N, k], float32, such as the rank of each image.
    """

    prompts: list[str]
    images: Images
    keys: list[str]
    prompt: np.ndarray
    image: np.ndarray
    key: np.ndarray
    view: np.ndarray
    weight: np.ndarray
    facts: np.ndarray

    def __len__(self) -> int:
        return len(self.view)

    def digest(self) -> str:
        """A digest of the examples and their order."""
        arrays = (self.images.digest, self.prompt, self.image, self.key, self.view, self.weight, self.facts)
        return digest(texts_digest(self.prompts), texts_digest(self.keys), *map(array_digest, arrays))

    @classmethod
    def of(
        cls,
        feedback: Rankings | Grades,
        prompt: np.ndarray,
        image: np.ndarray,
        keys: Sequence[str],
        key: np.ndarray,
        weight: np.ndarray | None = None,
        facts: np.ndarray | None = None,
    ) -> Examples:
        """Gathers examples; prompts, images, keys and views are numbered in the order in which they first appear.

        Args:
            feedback: the feedback that the prompts and images belong to.
            prompt: the number of each example's prompt in the feedback [N].
            image: the numbers of its images in the feedback [N, n].
            keys: the keys of the examples, in any order.
            key: the number of each example's key among these [N].
            weight: see `Examples` [N]; 1 each when left out.
            facts: see `Examples` [N, k]; none when left out.

        Raises:
            InputError: there are none.
        """
        count, n = len(image), image.shape[1]
        if not count:
            raise InputError("the preferences contain nothing to learn from: no image is ranked above another")
        prompts, prompt = _as_they_come(prompt)
        images, image = _as_they_come(image.ravel())
        texts, same = numbered(keys)
        chosen, key = _as_they_come(same[key])
        under, _ = first_seen(prompt * len(chosen) + key)
        view, first = first_seen(under.repeat(n) * len(images) + image)
        return cls(
            prompts=["", *(feedback.prompts[number] for number in prompts.tolist())],
            images=feedback.images.take(images),
            keys=[texts[number] for number in chosen.tolist()],
            prompt=prompt.repeat(n)[first] + 1,
            image=image[first],
            key=key.repeat(n)[first],
            view=view.reshape(count, n),
            weight=np.ones(count, np.float32) if weight is None else weight.astype(np.float32),
            facts=np.empty((count, 0), np.float32) if facts is None else facts.astype(np.float32),
        )


def _as_they_come(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distinct values in the order in which they first appear, and for each value its number among them."""
    number, first = first_seen(values)
    return values[first], number
