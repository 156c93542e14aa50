"""Bytes become the picture that they show: grey of any depth is scaled, and only damage to the picture counts."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from pictures import encoded
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from palate.core.errors import InputError, PalateError
from palate.records.decode import decode_image, rgb
from palate.records.images import StoredImage
from palate.score.base import to_tensor

RAMP = np.linspace(0, 65535, 256).round()  # 0..255 after scaling


def saved(image: Image.Image, kind: str, **settings: object) -> bytes:
    data = io.BytesIO()
    image.save(data, kind, **settings)
    return data.getvalue()


def grey(values: np.ndarray, kind: str = "TIFF") -> bytes:
    """A picture of one row."""
    return saved(Image.fromarray(values[None]), kind)


def row(image: Image.Image) -> list[int]:
    """The first row of a picture that is grey."""
    pixels = np.asarray(image)
    assert image.mode == "RGB"
    assert (pixels == pixels[..., :1]).all()
    return pixels[0, :, 0].tolist()


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM", "JPEG2000"])
def test_grey_of_16_bits_is_scaled_to_8(kind: str) -> None:
    data = io.BytesIO()
    Image.fromarray(np.tile(RAMP.astype(np.uint16), (8, 1))).save(
        data, kind, **{"JPEG2000": {"irreversible": False}}.get(kind, {})
    )
    assert row(decode_image(data.getvalue())) == list(range(256))


def test_a_ramp_of_16_bits_is_as_bright_as_one_of_8() -> None:
    ramp = np.tile(RAMP, (64, 1))
    deep, plain = decode_image(saved(Image.fromarray(ramp.astype(np.uint16)), "PNG")), np.tile(np.arange(256), (64, 1))
    assert np.asarray(deep).mean() == pytest.approx(plain.mean())


@pytest.mark.parametrize(
    "values, expected",
    [
        (np.array([0, 128, 65535], np.int32), [0, 0, 255]),
        (np.array([0, 32896, 256], np.int32), [0, 128, 1]),
        (np.array([0, 7, 255], np.int32), [0, 7, 255]),
        (np.array([0.0, 0.5, 1.0], np.float32), [0, 128, 255]),
        (np.array([0.0, 0.4, 254.6], np.float32), [0, 0, 255]),
        (np.array([0.0, 0.0], np.float32), [0, 0]),
    ],
)
def test_grey_of_32_bits_is_scaled_from_the_range_that_holds_it(values: np.ndarray, expected: list[int]) -> None:
    assert row(decode_image(grey(values))) == expected
    assert row(rgb(Image.fromarray(values[None]))) == expected


@pytest.mark.parametrize(
    "values, complaint",
    [
        (np.array([0, 65536], np.int32), r"values from 0 to 65536, outside of 0\.\.255 or 0\.\.65535"),
        (np.array([-1, 9], np.int32), r"from -1 to 9"),
        (np.array([0.0, 255.5], np.float32), r"from 0 to 255\.5, outside of 0\.\.1 or 0\.\.255; save it with 8 or 16"),
        (np.array([-0.1, 1.0], np.float32), "from -0.1 to 1"),
        (np.array([0.0, np.nan], np.float32), "from nan to nan"),
        (np.array([0.0, np.inf], np.float32), "from 0 to inf"),
    ],
)
def test_grey_of_no_known_range_is_refused(values: np.ndarray, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        StoredImage(data=grey(values)).open()


def test_grey_of_12_bits_is_white_at_4095() -> None:
    packed = bytes([0x00, 0x0F, 0xFF])  # 0 and 4095
    tags = [(256, 2), (257, 1), (258, 12), (259, 1), (262, 1), (273, 134), (277, 1), (278, 1), (279, 3), (339, 1)]
    entries = b"".join(tag.to_bytes(2, "little") + b"\4\0\1\0\0\0" + v.to_bytes(4, "little") for tag, v in tags)
    head = b"II*\0\x08\0\0\0" + len(tags).to_bytes(2, "little") + entries + bytes(4)
    assert len(head) == 134
    assert row(decode_image(head + packed)) == [0, 255]


def test_the_transparent_value_of_16_bits_is_white() -> None:
    data = saved(Image.fromarray(np.array([[0, 257]], np.uint16)), "PNG", transparency=257)
    assert row(decode_image(data)) == [0, 255]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "I", "F", "I;16", "PA"])
def test_every_mode_that_a_picture_may_have_becomes_rgb(mode: str) -> None:
    assert rgb(Image.new(mode, (2, 3))).mode == "RGB"


def test_a_mode_without_rgb_is_refused() -> None:
    with pytest.raises(InputError, match="its mode La has no RGB"):
        rgb(Image.new("La", (2, 3)))


def test_scorers_read_16_bits_of_grey_as_they_are_shown() -> None:
    assert torch.allclose(to_tensor([Image.fromarray(np.full((2, 2), 32896, np.uint16))]), torch.tensor(128 / 255))


@pytest.mark.parametrize("compressed", [True, False], ids=["zTXt", "tEXt"])
@pytest.mark.parametrize("megabytes", [2, 70])
def test_much_text_in_a_png_does_not_condemn_it(compressed: bool, megabytes: int) -> None:
    """Two are above Pillow's limit of one text, 70 above its limit of all."""
    text, exif = PngInfo(), Image.Exif()
    exif[0x0112] = 6
    for number in range(megabytes if megabytes > 2 else 1):
        text.add_text(f"workflow {number}", "x" * (2**20 if megabytes > 2 else 2**21), compressed)
    data = saved(Image.new("RGB", (4, 2), "red"), "PNG", pnginfo=text, exif=exif.tobytes())
    shown = decode_image(data)
    assert (shown.getpixel((0, 0)), shown.size) == ((255, 0, 0), (2, 4))


def test_damage_beside_the_picture_of_a_png_does_not_condemn_it_and_damage_in_it_does() -> None:
    text = PngInfo()
    text.add_text("note", "a cat")
    data = bytearray(saved(Image.new("RGB", (4, 2), "red"), "PNG", pnginfo=text))
    data[data.index(b"a cat")] ^= 1  # and its checksum is wrong
    assert decode_image(bytes(data)).getpixel((0, 0)) == (255, 0, 0)
    data[data.index(b"IDAT") + 4] ^= 0xFF
    with pytest.raises(InputError):
        decode_image(bytes(data))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's remarks on the damage
def test_damaged_exif_does_not_condemn_a_picture(kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a cat"
    whole, rng = exif.tobytes(), np.random.default_rng(0)
    for size in range(6, len(whole) + 1):
        damaged = bytearray(whole[:size])
        for place in rng.integers(6, size, 3) if size > 6 else ():
            damaged[place] = rng.integers(256)
        shown = decode_image(saved(Image.new("RGB", (4, 2), "red"), kind, exif=bytes(damaged)))
        assert shown.size in ((4, 2), (2, 4))


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_exif_that_cannot_be_written_again_still_turns_the_picture() -> None:
    """Its description is no text: Pillow reads it, and cannot write it."""
    tiff = b"MM\0*\0\0\0\x08" + b"\0\2" + b"\x01\x0e\0\x07\0\0\0\x04abcd" + b"\x01\x12\0\3\0\0\0\1\0\6\0\0" + bytes(4)
    assert decode_image(saved(Image.new("RGB", (4, 2)), "JPEG", exif=b"Exif\0\0" + tiff)).size == (2, 4)


def test_what_a_decoder_raises_is_one_error(monkeypatch: pytest.MonkeyPatch) -> None:
    for raised in (RuntimeError("Failed\n to decode"), TypeError(), KeyError("x"), MemoryError(), IndexError("x")):

        def fail(*_: object, error: Exception = raised) -> None:
            raise error

        monkeypatch.setattr(Image, "open", fail)
        with pytest.raises(InputError, match=rf"an image cannot be decoded: ({type(raised).__name__}|Failed to|'?x)"):
            StoredImage(data=encoded(), name="an image").open()


def test_a_program_for_ghostscript_is_no_image() -> None:
    data = saved(Image.new("RGB", (2, 2)), "EPS")
    with pytest.raises(InputError, match="EPS needs another program"):
        decode_image(data)


def test_what_lies_where_an_image_should_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.png").mkdir()
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "loop.png").symlink_to("loop.png")
    for name, complaint in (
        ("x.png", "is a folder"),
        ("pipe.png", "does not exist"),
        ("loop.png", "does not exist"),
        (f"{'z' * 300}.png", "(cannot be read|does not exist)"),
        ("x.png/y.png", "does not exist"),
        ("nul\0.png", "does not exist"),
    ):
        with pytest.raises(InputError, match=f"png {complaint}"):
            StoredImage(path=tmp_path / name).open()


def test_a_file_that_goes_between_the_look_and_the_reading_does_not_exist(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "is_file", lambda _: True)
    with pytest.raises(InputError, match="gone.png does not exist"):
        StoredImage(path=tmp_path / "gone.png").read()


def test_a_disk_that_fails_is_no_fault_of_the_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: Path) -> bytes:
        raise OSError(5, "Input/output error")

    (tmp_path / "x.png").write_bytes(encoded())
    monkeypatch.setattr(Path, "read_bytes", fail)
    with pytest.raises(PalateError, match="the disk or network share is failing") as error:
        StoredImage(path=tmp_path / "x.png").read()
    assert not isinstance(error.value, InputError)
