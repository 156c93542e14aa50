"""The part that is common to the methods that learn from single images."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from palate.align.config import AlignConfig
from palate.align.methods.method import Method

if TYPE_CHECKING:
    import numpy as np

    from palate.align.examples import Examples
    from palate.records.columns import Grades

C = TypeVar("C", bound=AlignConfig)


class Singles(Method[C]):
    """A method whose examples are single images, each with its own noise."""

    def roles(self, n: int) -> tuple[str]:
        """The role of the one image."""
        return ("image",)


def singles(graded: Grades, weight: np.ndarray | None = None, facts: np.ndarray | None = None) -> Examples:
    """One example for each graded image [G]; each has its own key, so that no two share noise.

    Args:
        graded: the images.
        weight, facts: see `Examples.of`.
    """
    import numpy as np

    from palate.align.examples import Examples

    digests = [each.tobytes().hex() for each in graded.images.digest]
    pairs = zip(graded.prompt.tolist(), graded.image.tolist())
    keys = [f"{digests[image]} {graded.prompts[prompt]}" for prompt, image in pairs]
    return Examples.of(graded, graded.prompt, graded.image[:, None], keys, np.arange(len(keys)), weight, facts)
