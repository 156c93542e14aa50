"""Training examples in columns: n images of one prompt, best first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from palate.core.errors import InputError
from palate.records.images import StoredImage
from palate.training.cache import digest

T = TypeVar("T")


@dataclass(frozen=True)
class Example:
    """n images of a prompt, best first.

    Attributes:
        prompt: of all the images.
        images: [n].
        key: what randomness is shared within: the ranked set's identity.
        weight: how much the example counts.
        facts: numbers that the method's loss reads [k], such as a rank for each image.
    """

    prompt: str
    images: tuple[StoredImage, ...]
    key: str
    weight: float = 1.0
    facts: tuple[float, ...] = ()


@dataclass(frozen=True, eq=False)
class Examples:
    """N examples as indices. A *view* is an image under a prompt and a key: what an error is measured of.

    An image in several pairs of one ranked set is one view, so that its error under the base model is asked once.

    Attributes:
        prompts: the distinct prompts; the first is empty, for prompt dropout.
        images: the distinct images.
        keys: the distinct keys.
        prompt, image, key: what each view is of, [V] each.
        view: the views of each example [N, n].
        weight: of each example [N], float32.
        facts: of each example [N, k], float32.
    """

    prompts: tuple[str, ...]
    images: tuple[StoredImage, ...]
    keys: tuple[str, ...]
    prompt: np.ndarray
    image: np.ndarray
    key: np.ndarray
    view: np.ndarray
    weight: np.ndarray
    facts: np.ndarray

    def __len__(self) -> int:
        return len(self.view)

    def digest(self) -> str:
        """A short name for what there is to learn from: equal examples in equal order, equal name."""
        images = [image.digest() for image in self.images]
        columns = [each.tolist() for each in (self.prompt, self.image, self.key, self.view, self.weight, self.facts)]
        return digest(self.prompts, images, self.keys, columns)

    @classmethod
    def of(cls, examples: Sequence[Example]) -> Examples:
        """Gathers examples.

        Raises:
            InputError: there are none.
        """
        if not examples:
            raise InputError("the preferences hold nothing to learn from: no image is ranked above another")
        prompts, images, keys, views = _Distinct[str](), _Distinct[StoredImage](), _Distinct[str](), _Distinct[tuple]()
        prompts.number("", "")

        def view(example: Example, image: StoredImage) -> int:
            prompt, key = prompts.number(example.prompt, example.prompt), keys.number(example.key, example.key)
            number = (prompt, images.number(image.digest(), image), key)
            return views.number(number, number)

        rows = np.array([[view(example, image) for image in example.images] for example in examples])
        prompt, image, key = np.array(views.values).T
        weight = np.array([example.weight for example in examples], dtype=np.float32)
        facts = np.array([example.facts for example in examples], dtype=np.float32)
        told = tuple(prompts.values), tuple(images.values), tuple(keys.values)
        return cls(*told, prompt, image, key, rows, weight, facts)


class _Distinct(Generic[T]):
    """Values by identity, numbered as they first come."""

    def __init__(self) -> None:
        self._numbers: dict[object, int] = {}
        self.values: list[T] = []

    def number(self, identity: object, value: T) -> int:
        number = self._numbers.setdefault(identity, len(self.values))
        if number == len(self.values):
            self.values.append(value)
        return number
