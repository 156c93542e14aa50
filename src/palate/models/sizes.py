"""Which sizes of pictures a model takes, known from its configuration before any weight is read."""

from __future__ import annotations

from dataclasses import dataclass

from palate.core.errors import InputError


@dataclass(frozen=True)
class Sizes:
    """The sizes of a model's pictures, in pixels a side.

    Attributes:
        native: that it was trained on.
        multiple: every side is a multiple of it: what the autoencoder and the network divide a side by.
        largest: no side is longer; None where nothing limits it.
    """

    native: int
    multiple: int = 1
    largest: int | None = None

    def require(self, height: int, width: int | None = None) -> None:
        """Checks a size before anything is encoded or drawn.

        Args:
            height: pixels.
            width: pixels; those of a square when left out.

        Raises:
            InputError: a side does not fit; names the nearest ones that do.
        """
        for name, side in (("height", height), ("width", width or height)):
            if fitting := self._nearest(side):
                limit = f" of at most {self.largest}" if self.largest else ""
                what = f"{'resolution' if width is None else name} {side} does not fit the model"
                either = " or ".join(map(str, fitting))
                raise InputError(f"{what}, whose sides are multiples of {self.multiple}{limit}; give {either}")

    def _nearest(self, side: int) -> list[int]:
        """The nearest sides that fit, where this one does not."""
        last = self.largest // self.multiple * self.multiple if self.largest else None
        if side > 0 and side % self.multiple == 0 and (last is None or side <= last):
            return []
        below = max(side // self.multiple, 1) * self.multiple
        around = [below, below + self.multiple] if side > self.multiple else [self.multiple]
        return sorted({min(each, last or each) for each in around})
