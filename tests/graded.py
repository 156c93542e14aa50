"""Images of the tiny world as graded ones."""

from __future__ import annotations

from pathlib import Path

from palate.prefer.grading import GradeConfig, grade
from palate.score.stage import ScoreConfig, score


def grade_images(images: Path) -> Path:
    """Grades images by whether the teacher finds them faithful."""
    scores = score(ScoreConfig(images=images, scorer=("teacher:faithful",), out=Path(f"{images}-scores")))
    return grade(GradeConfig(scores=scores, out=Path(f"{images}-grades")))
