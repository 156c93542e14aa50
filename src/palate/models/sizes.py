"""The image sizes that a model takes, known from its configuration before any weight is read."""

from __future__ import annotations

from dataclasses import dataclass

from palate.core.errors import InputError


@dataclass(frozen=True)
class Sizes:
    """The image sizes of a model: widths and heights in pixels.

    Attributes:
        native: the width and height on which it was trained.
        multiple: width and height must be multiples of this, as the autoencoder and the network divide them by it.
        largest: the largest width and height; None if there is no limit.
        oblong_pixels: the most pixels of an image that is not square; None if there is no limit.
    """

    native: int
    multiple: int = 1
    largest: int | None = None
    oblong_pixels: int | None = None

    def require(self, height: int, width: int | None = None) -> None:
        """Checks a size before anything is encoded or generated.

        Args:
            height: in pixels.
            width: in pixels; the same as the height when left out.

        Raises:
            InputError: the model does not take the size; the message gives the nearest ones that it takes.
        """
        for name, side in (("height", height), ("width", width or height)):
            if fitting := self._nearest(side):
                limit = f" of at most {self.largest}" if self.largest else ""
                what = f"{'resolution' if width is None else name} {side} does not fit the model"
                either = " or ".join(map(str, fitting))
                raise InputError(f"{what}, whose sides are multiples of {self.multiple}{limit}; give {either}")

    def _nearest(self, side: int) -> list[int]:
        """The nearest allowed lengths, if this one is not allowed; empty if it is."""
        last = self.largest // self.multiple * self.multiple if self.largest else None
        if side > 0 and side % self.multiple == 0 and (last is None or side <= last):
            return []
        below = max(side // self.multiple, 1) * self.multiple
        around = [below, below + self.multiple] if side > self.multiple else [self.multiple]
        return sorted({min(each, last or each) for each in around})
