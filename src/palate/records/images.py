"""An image that is stored somewhere, as a file or inside a table, and is only decoded when it is looked at."""

from __future__ import annotations

import errno
import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from palate.core.errors import InputError, PalateError
from palate.core.files import explain_os_errors
from palate.records.decode import decode

if TYPE_CHECKING:
    from PIL import Image

_FIX = "replace it, or leave its row out"
_ITS_OWN_FAULT = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EACCES, errno.EPERM}
"""Errors of reading that are about one file; others, such as a disk that fails, are about the whole run."""


@dataclass(frozen=True)
class StoredImage:
    """The encoded bytes of one image, or the file that has them.

    Args:
        data: PNG, JPEG, WebP and the like.
        path: the file, when `data` is None.
        name: what to call it in an error; the path or "an embedded image" when left out.
    """

    data: bytes | None = field(default=None, repr=False)
    path: Path | None = None
    name: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        if (self.data is None) == (self.path is None):
            raise InputError(f"{self} must have its bytes or a path: exactly one of the two")

    def __str__(self) -> str:
        return self.name or str(self.path or "an embedded image")

    def read(self) -> bytes:
        """The encoded bytes.

        Raises:
            InputError: the file is missing or cannot be read, or there are no bytes.
        """
        data = self.data if self.path is None else self._contents(self.path)
        if not data:
            raise InputError(f"the image {self} is empty (0 bytes); {_FIX}")
        return data

    def _contents(self, path: Path) -> bytes:
        try:
            with explain_os_errors(f"read the image {self}"):
                if path.is_file():  # and no pipe, which would be waited for
                    return path.read_bytes()
                what = "is a folder" if path.is_dir() else "does not exist"
        except PalateError as error:
            if not isinstance(error.__cause__, OSError) or error.__cause__.errno not in _ITS_OWN_FAULT:
                raise
            gone = isinstance(error.__cause__, FileNotFoundError)  # since `is_file`
            what = "does not exist" if gone else f"cannot be read ({error.__cause__.strerror})"
        raise InputError(f"the image {self} {what}; {_FIX}")

    def open(self) -> Image.Image:
        """The image as a browser shows it: RGB, turned as its EXIF says, transparency on white (see `decode`).

        Raises:
            InputError: it is missing, empty, cut short or no image.
        """
        data = self.read()
        try:
            return decode(data)
        except InputError as error:
            raise InputError(f"the image {self} cannot be decoded: {error}; {_FIX}") from error

    def digest(self) -> str:
        """SHA-256 of the encoded bytes, in hex: the image's identity for keyed noise and caches."""
        return self._digest

    @cached_property
    def _digest(self) -> str:
        return hashlib.sha256(self.read()).hexdigest()
