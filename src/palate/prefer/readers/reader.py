"""What `prefer/load.py` knows of a reader of a published format."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from palate.core.errors import InputError
from palate.records.graded_image import GradedImage
from palate.records.ranked import RankedSet
from palate.records.tally import Tally


@dataclass(frozen=True)
class Selection:
    """What to read of a source.

    Attributes:
        split: the split of a source with several; when left out, train or the only one.
        confidence: read only comparisons of at least this confidence, in [0, 1].
    """

    split: str | None = None
    confidence: float | None = None


EVERYTHING = Selection()


@dataclass(frozen=True)
class FormatReader:
    """The reader of one format.

    Attributes:
        matches: whether a file or folder has the format; raises InputError only for a file that is surely meant.
        read: the ranked sets of a file or folder, one at a time; what is left out is counted in the tally. Raises
            InputError for a bad row that the tally does not leave out.
        what: how to recognise the format, for the error that a source has none.
        splits: whether the format has splits.
        confidences: whether its comparisons have a confidence.
        in_parts: whether `read` takes each Parquet file of a source on its own; `load.py` then selects the split.
        grades: the graded images of a file or folder, where the format has numbers in [0, 1] for single images.
    """

    matches: Callable[[Path], bool]
    read: Callable[[Path, Tally, Selection], Iterator[RankedSet]]
    what: str
    splits: bool = False
    confidences: bool = False
    in_parts: bool = False
    grades: Callable[[Path, Tally, Selection], Iterator[GradedImage]] | None = None

    def require(self, selection: Selection, name: str, path: Path) -> None:
        """Raises an InputError where the format has not what is selected.

        Args:
            name: the name of the format.
            path: the source.
        """
        if selection.split is not None and not self.splits:
            raise InputError(f"{path} is in the format {name}, which has no splits; leave split out")
        if selection.confidence is not None and not self.confidences:
            raise InputError(f"{path} is in the format {name}, which has no confidences; leave confidence out")
