"""TFRecord files are read exactly: checksums, lengths, and each kind of value."""

from __future__ import annotations

import struct
from contextlib import suppress
from pathlib import Path

import pytest
from fuzzing import EXAMPLES, damaged, edits, settings
from hypothesis import given
from published import example, field, rated, record, varint

from palate.core.errors import InputError
from palate.records.tally import Tally
from palate.records.tfrecord import example_of, iterate_examples, masked_crc32c


def written(file: Path, *records: bytes) -> Path:
    file.write_bytes(b"".join(records))
    return file


def test_the_checksum_is_that_of_the_standard() -> None:
    """RFC 3720, B.4: CRC-32C of 32 zeros 0x8a9136aa, of 32 times 0xff 0x62a8ab43; masked by TensorFlow's rule."""

    def masked(crc: int) -> int:
        return ((crc >> 15 | crc << 17 & 0xFFFFFFFF) + 0xA282EAD8) % 2**32

    assert masked_crc32c(bytes(32)) == masked(0x8A9136AA)
    assert masked_crc32c(b"\xff" * 32) == masked(0x62A8AB43)
    assert masked_crc32c(b"123456789") == masked(0xE3069283)


def test_the_checksum_is_tensorboard_s() -> None:
    stub = pytest.importorskip("tensorboard.compat.tensorflow_stub.pywrap_tensorflow", reason="tensorboard is optional")
    for data in (b"", b"a", b"ab", bytes(range(256)) * 3 + b"x"):
        assert masked_crc32c(data) == stub.masked_crc32c(data)


def test_an_example_written_by_hand_is_read() -> None:
    """The message `features {feature {key: "a" value {float_list {value: 1.0}}}}`, byte by byte."""
    data = bytes.fromhex("0a0f 0a0d 0a0161 1208 1206 0a04 0000803f".replace(" ", ""))
    assert example_of(data) == {"a": [1.0]}


def test_each_kind_of_value_is_read_packed_or_not() -> None:
    assert example_of(example(text="ünï", data=b"\0\xff", number=0.5, whole=-3, none=None)) == {
        "text": ["ünï".encode()],
        "data": [b"\0\xff"],
        "number": [0.5],
        "whole": [-3],
        "none": [],
    }
    unpacked = varint(1 << 3 | 5) + struct.pack("<f", 0.25) + varint(1 << 3 | 5) + struct.pack("<f", 2.0)
    whole = varint(1 << 3) + varint(7) + varint(1 << 3) + varint(2**64 - 1)
    entries = [(b"f", field(2, unpacked)), (b"i", field(3, whole))]
    data = field(1, b"".join(field(1, field(1, name) + field(2, value)) for name, value in entries))
    assert example_of(data) == {"f": [0.25, 2.0], "i": [7, -1]}


def test_examples_are_named_by_their_number(tmp_path: Path) -> None:
    file = written(tmp_path / "a.tfrecord", record(example(a=1)), record(example(a=2)))
    assert list(iterate_examples(file, Tally())) == [(f"record {n} of {file}", {"a": [n + 1]}) for n in (0, 1)]


def test_damaged_data_are_refused_or_left_out_and_the_next_record_is_read(tmp_path: Path) -> None:
    bad = bytearray(record(example(a=1)))
    bad[14] ^= 1
    file = written(tmp_path / "a.tfrecord", bytes(bad), record(example(a=2)))
    with pytest.raises(InputError, match=r"record 0 of .*a\.tfrecord: its data are damaged \(checksum\)"):
        list(iterate_examples(file, Tally()))
    tally = Tally(skip_bad=True)
    assert [found for _, found in iterate_examples(file, tally)] == [{"a": [2]}]
    assert len(tally.bad) == 1


@pytest.mark.parametrize(
    "data, complaint",
    [
        (record(example(a=1))[:-1], r"ends within record 0"),
        (record(example(a=1))[:13], r"ends within record 0"),
        (b"not a file of records", "record 0 of .* does not begin as a record of TFRecord"),
        (b"short", "record 0 of .* does not begin as a record of TFRecord"),
        (b"version https://git-lfs.github.com/spec/v1\n", "is a pointer of Git LFS"),
    ],
)
def test_a_file_that_is_none_is_refused_with_skip_bad_too(tmp_path: Path, data: bytes, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        list(iterate_examples(written(tmp_path / "a.tfrecord", data), Tally(skip_bad=True)))


@pytest.mark.parametrize(
    "data", [b"\x0a", b"\x0a\x05ab", b"\x0b\x00", b"\xff" * 11, field(1, field(1, field(1, b"\xff")))]
)
def test_bytes_that_are_no_example_are_refused(data: bytes) -> None:
    with pytest.raises(InputError, match=r"it is not a tf\.train\.Example"):
        example_of(data)


@EXAMPLES
def test_whatever_the_bytes_they_are_read_or_refused(tmp_path: Path, examples: int) -> None:
    sound = rated("uid", 0.5)

    @settings(examples)
    @given(edits())
    def check(changes: list) -> None:
        with suppress(InputError):
            example_of(damaged(sound, changes))

    check()
