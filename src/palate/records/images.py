"""An image that is stored as a file or inside a table, and is only decoded when it is used."""

from __future__ import annotations

import errno
import hashlib
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from palate.core.errors import InputError, PalateError
from palate.core.files import explain_os_errors
from palate.records.decode import decode_image

if TYPE_CHECKING:
    from PIL import Image

_FIX = "replace it, or leave its row out"
_ERRORS_OF_ONE_FILE = {
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.ELOOP,
    errno.ENAMETOOLONG,
    errno.EACCES,
    errno.EPERM,
}
"""Errors of reading that concern one file; others, such as a failing disk, concern the whole run."""


class Place(NamedTuple):
    """The place of an image's bytes in a Parquet file.

    Attributes:
        file: the Parquet file.
        row: the number of the row, from 0.
        column: `images` (a list of images), `image` (one), or a column of bytes such as `jpg_0`.
        item: which image of the list, from 0; -1 where the column holds one image a row.
    """

    file: Path
    row: int
    column: str
    item: int = -1

    def __str__(self) -> str:
        row = f"row {self.row} of {self.file}"
        if self.item >= 0:
            return f"{self.item + 1} of {row}"
        return row if self.column == "image" else f"{self.column} of {row}"


class Facts(NamedTuple):
    """The facts about an image that has been decoded once.

    Attributes:
        sha256: of its encoded bytes, in hex.
        width, height: in pixels, rotated as its EXIF says.
    """

    sha256: str
    width: int
    height: int


@dataclass(frozen=True, eq=False)
class StoredImage:
    """The encoded bytes of one image, or where they are; two images are equal if their bytes are.

    Args:
        data: PNG, JPEG, WebP and the like.
        path: the image file, when `data` is None.
        place: the place in a Parquet file; together with `data` where both are known.
        name: the name of the image in errors; its path or place when left out.
        facts: what was found when it was decoded; bytes that are read later are compared with them.

    Raises:
        InputError: neither bytes nor a path nor a place, or a path together with one of the others.
    """

    data: bytes | None = field(default=None, repr=False)
    path: Path | None = None
    place: Place | None = None
    name: str = ""
    facts: Facts | None = None

    def __post_init__(self) -> None:
        if (self.data is None and self.place is None) == (self.path is None):
            raise InputError(f"{self} must have its bytes, a place or a path: exactly one of them")

    def __str__(self) -> str:
        return self.name or str(self.path or self.place or "an embedded image")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, StoredImage) and (self is other or self.digest() == other.digest())

    def __hash__(self) -> int:
        return hash(self.digest())

    def read(self) -> bytes:
        """The encoded bytes.

        Raises:
            InputError: the file is missing or cannot be read, it has no bytes, or the bytes do not match the facts.
        """
        if self.data is not None:
            return self._not_empty(self.data)
        data = self._not_empty(self._contents(self.path) if self.path else self._at_place())
        if self.facts and hashlib.sha256(data).hexdigest() != self.facts.sha256:
            fix = "put back what was there, or import or start again"
            raise InputError(f"the image {self} has changed since it was first read; {fix}")
        return data

    def open(self) -> Image.Image:
        """The image as a browser shows it: RGB, rotated as its EXIF says, transparency on white (see `decode_image`).

        Raises:
            InputError: it is missing, empty, incomplete or not an image.
        """
        data = self.read()
        try:
            return decode_image(data)
        except InputError as error:
            raise InputError(f"the image {self} cannot be decoded: {error}; {_FIX}") from error

    def checked(self) -> StoredImage:
        """The same image with its facts; decodes it if it was not decoded before.

        Raises:
            InputError: as for `open`.
        """
        if self.facts:
            return self
        with_data = self if self.data is not None else replace(self, data=self.read(), path=None, name=str(self))
        return replace(self, facts=Facts(with_data.digest(), *with_data.open().size))

    def released(self) -> StoredImage:
        """The same image without its bytes in memory, where it can be read again from its place."""
        return replace(self, data=None) if self.place and self.data is not None else self

    def digest(self) -> str:
        """SHA-256 of the encoded bytes, in hex: the image's identity for keyed noise and caches."""
        return self.facts.sha256 if self.facts else self._digest

    @cached_property
    def _digest(self) -> str:
        return hashlib.sha256(self.read()).hexdigest()

    def _not_empty(self, data: bytes | None) -> bytes:
        if not data:
            raise InputError(f"the image {self} is empty (0 bytes); {_FIX}")
        return data

    def _contents(self, path: Path) -> bytes:
        try:
            with explain_os_errors(f"read the image {self}"):
                if path.is_file():  # not a pipe, whose reading would block
                    return path.read_bytes()
                what = "is a folder" if path.is_dir() else "does not exist"
        except PalateError as error:
            if not isinstance(error.__cause__, OSError) or error.__cause__.errno not in _ERRORS_OF_ONE_FILE:
                raise
            deleted = isinstance(error.__cause__, FileNotFoundError)  # after the call of `is_file`
            what = "does not exist" if deleted else f"cannot be read ({error.__cause__.strerror})"
        raise InputError(f"the image {self} {what}; {_FIX}")

    def _at_place(self) -> bytes | None:
        from palate.records.places import read_place

        assert self.place is not None  # there is neither data nor a path
        return read_place(self.place)
