"""Decoding of images: encoded bytes of any bit depth, orientation or transparency to 8-bit RGB."""

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
    """The image as a browser shows it: RGB, rotated as its EXIF says, transparency on white.

    Grey of more than 8 bits is scaled to 8 (see `rgb`). Damaged EXIF and the chunks of a PNG that are not needed for
    its pixels, such as many megabytes of compressed text, are ignored.

    Raises:
        InputError: the bytes are not an image, or are a damaged one; the message contains only the reason.
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
    """A decoded image of any mode as RGB, transparency on white.

    Grey of more than 8 bits is scaled to 8 bits. Modes I;16 and I are scaled from 0..65535. Mode F, and 32-bit integers
    that are not from a PNG or PGM file, are scaled from the first of the ranges 0..1 (only F), 0..255 and 0..65535
    (only I) that contains all values. Pillow's own conversion makes all values above 255 white.

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
                raise InputError("EPS needs another program to be drawn; convert it to PNG")
            image.load()
            return rgb(_turned(image))
    except InputError:
        raise
    except UnidentifiedImageError as error:
        raise InputError("Pillow does not know its format") from error
    except Exception as error:  # on damaged bytes Pillow's decoders may raise any exception
        raise InputError(" ".join(str(error).split()) or type(error).__name__) from error


def _turned(image: Image.Image) -> Image.Image:
    """The image rotated as its EXIF says; unchanged where the EXIF is damaged."""
    from PIL import Image

    try:
        orientation = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # damaged EXIF may raise any exception
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
    transparent = image.info.get("transparency")  # the value of transparent pixels
    if isinstance(transparent, int):
        grey[values == transparent] = 255
    return Image.fromarray(grey)


def _white(image: Image.Image, low: float, high: float) -> int:
    """The value of white in grey of more than 8 bits; the values of the image are in low..high."""
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
    """A PNG with only the chunks that its pixels depend on, and its EXIF if that is not damaged."""
    kept, start = [_PNG], len(_PNG)
    while start + 12 <= len(data):
        length, kind = int.from_bytes(data[start : start + 4], "big"), data[start + 4 : start + 8]
        chunk = data[start : start + 12 + length]
        sound = int.from_bytes(chunk[-4:], "big") == zlib.crc32(chunk[4:-4])
        if kind in _PICTURE or (kind == b"eXIf" and sound):
            kept.append(chunk)
        start += 12 + length
    return b"".join(kept)
