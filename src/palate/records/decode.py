"""Encoded bytes as the picture that they show: 8-bit RGB, whatever depth, orientation or transparency they have."""

from __future__ import annotations

import io
import zlib
from typing import TYPE_CHECKING

from palate.core.errors import InputError

if TYPE_CHECKING:
    from PIL import Image

_PNG = b"\x89PNG\r\n\x1a\n"
_PICTURE = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"}
"""Chunks of a PNG that its pixels depend on."""
_BITS_PER_SAMPLE, _ORIENTATION = 258, 274  # tags of TIFF and EXIF


def decode_image(data: bytes) -> Image.Image:
    """The picture as a browser shows it: RGB, turned as its EXIF says, transparency on white.

    Grey of more than 8 bits is scaled to 8 (see `rgb`). What a PNG has beside its pixels, such as compressed text of
    many megabytes, and EXIF that is damaged do not matter.

    Raises:
        InputError: the bytes are no picture, or a damaged one; the message is the reason alone.
    """
    try:
        return _decode(data)
    except InputError:
        if not data.startswith(_PNG):
            raise
        pixels = _pixels_alone(data)
        if len(pixels) == len(data):
            raise
        return _decode(pixels)


def rgb(image: Image.Image) -> Image.Image:
    """A decoded picture of any mode as RGB, transparency on white.

    Grey of more than 8 bits is scaled to 8: of modes I;16 and I from 0..65535, and of F, and of 32-bit whole numbers
    that are not from a PNG or PGM file, from the first of the ranges 0..1 (F alone), 0..255 and 0..65535 (I alone) that
    holds all values. Pillow's own conversion makes all above 255 white.

    Raises:
        InputError: values outside of these ranges, or a mode that has no RGB.
    """
    from PIL import Image

    try:
        if image.mode in ("I", "F") or image.mode.startswith("I;16"):
            return _grey8(image).convert("RGB")
        if image.has_transparency_data:
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
        return image.convert("RGB")
    except (ValueError, OSError) as error:
        raise InputError(f"its mode {image.mode} has no RGB ({error})") from error


def _decode(data: bytes) -> Image.Image:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(data)) as image:
            if image.format == "EPS":
                raise InputError("EPS is a program for another program to draw")
            image.load()
            return rgb(_turned(image))
    except InputError:
        raise
    except UnidentifiedImageError as error:
        raise InputError("it is in no format of images that Pillow knows") from error
    except Exception as error:  # on damaged bytes Pillow's decoders raise whatever their code comes to
        raise InputError(" ".join(str(error).split()) or type(error).__name__) from error


def _turned(image: Image.Image) -> Image.Image:
    """The image turned as its EXIF says; as it is where the EXIF is damaged."""
    from PIL import Image

    try:
        orientation = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # EXIF is a file of its own inside the file, and its damage comes out in as many ways
        return image
    turns = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }
    return image.transpose(turns[orientation]) if orientation in turns else image


def _grey8(image: Image.Image) -> Image.Image:
    """Grey of more than 8 bits as mode L."""
    import numpy as np
    from PIL import Image

    values = np.asarray(image).astype(np.float64)  # [H, W]
    grey = np.rint(values * (255 / _white(image, float(values.min()), float(values.max())))).astype(np.uint8)
    transparent = image.info.get("transparency")  # the value of the pixels that are not there
    if isinstance(transparent, int):
        grey[values == transparent] = 255
    return Image.fromarray(grey)


def _white(image: Image.Image, low: float, high: float) -> int:
    """The value that stands for white in grey of more than 8 bits, whose values lie in low..high."""
    if image.mode.startswith("I;16"):
        tags = getattr(image, "tag_v2", {})  # of a TIFF, which may have 12 bits
        return 2 ** tags.get(_BITS_PER_SAMPLE, (16,))[0] - 1
    if image.mode == "I" and image.format in ("PNG", "PPM"):
        whites = (65535,)
    else:
        whites = (1, 255) if image.mode == "F" else (255, 65535)
    white = next((each for each in whites if low >= 0 and high <= each), None)
    if white is None:
        ranges = " or ".join(f"0..{each}" for each in whites)
        raise InputError(
            f"its grey has values from {low:g} to {high:g}, outside of {ranges}; save it with 8 or 16 bits"
        )
    return white


def _pixels_alone(data: bytes) -> bytes:
    """A PNG without what its pixels do not depend on; its EXIF stays where it is whole."""
    kept, start = [_PNG], len(_PNG)
    while start + 12 <= len(data):
        length, kind = int.from_bytes(data[start : start + 4], "big"), data[start + 4 : start + 8]
        chunk = data[start : start + 12 + length]
        sound = int.from_bytes(chunk[-4:], "big") == zlib.crc32(chunk[4:-4])
        if kind in _PICTURE or (kind == b"eXIf" and sound):
            kept.append(chunk)
        start += 12 + length
    return b"".join(kept)
