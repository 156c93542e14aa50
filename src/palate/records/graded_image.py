"""Graded images: one image of a prompt and a number, such as a thumb or a reward."""

from __future__ import annotations

from dataclasses import dataclass

from palate.core.errors import InputError
from palate.records.images import StoredImage


@dataclass(frozen=True)
class GradedImage:
    """An image that was judged on its own, not in comparison with others.

    Args:
        prompt: the prompt that the image was made from.
        image: the image.
        grade: in [0, 1], 1 is best; a thumb is 0 or 1.

    Raises:
        InputError: no prompt, or a grade outside [0, 1].
    """

    prompt: str
    image: StoredImage
    grade: float

    def __post_init__(self) -> None:
        if not self.prompt.strip():
            raise InputError("a graded image without a prompt; give each image the prompt that it was made from")
        if not 0 <= self.grade <= 1:
            fix = "`palate prefer grade` maps scores to [0, 1]"
            raise InputError(f"the grade {self.grade} is outside [0, 1] (prompt: {self.prompt!r}); {fix}")
