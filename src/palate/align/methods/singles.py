"""What the methods that learn from single images share."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from palate.align.config import AlignConfig
from palate.align.methods.method import Method

if TYPE_CHECKING:
    from palate.align.examples import Example
    from palate.records.images import StoredImage

C = TypeVar("C", bound=AlignConfig)


class Singles(Method[C]):
    """A method that learns from one image at a time, with noise of its own."""

    def roles(self, n: int) -> tuple[str]:
        """Of the one image."""
        return ("image",)


def single(prompt: str, image: StoredImage, weight: float = 1.0, facts: tuple[float, ...] = ()) -> Example:
    """An example of one image; its key is its own, so that no two share noise."""
    from palate.align.examples import Example

    return Example(prompt, (image,), f"{image.digest()} {prompt}", weight, facts)
