"""What the methods that learn from single images share."""

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
    """A method that learns from one image at a time, with noise of its own."""

    def roles(self, n: int) -> tuple[str]:
        """Of the one image."""
        return ("image",)


def singles(graded: Grades, weight: np.ndarray | None = None, facts: np.ndarray | None = None) -> Examples:
    """An example of each graded image [G]; its key is its own, so that no two share noise.

    Args:
        weight, facts: as of `Examples.of`.
    """
    import numpy as np

    from palate.align.examples import Examples

    digests = [each.tobytes().hex() for each in graded.images.digest]
    pairs = zip(graded.prompt.tolist(), graded.image.tolist())
    keys = [f"{digests[image]} {graded.prompts[prompt]}" for prompt, image in pairs]
    return Examples.of(graded, graded.prompt, graded.image[:, None], keys, np.arange(len(keys)), weight, facts)
