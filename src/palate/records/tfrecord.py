"""TFRecord files of `tf.train.Example`, read without TensorFlow.

A record is the length of its data (8 bytes, little endian), the masked CRC-32C of these bytes, the data, and the
masked CRC-32C of the data (`tensorflow/core/lib/io/record_writer.h`). The data are a protocol buffer message
(`example.proto`): a map from names to lists of bytes, of 32-bit floats or of 64-bit integers.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TypeAlias

import numpy as np

from palate.core.errors import InputError
from palate.core.files import explain_os_errors, require_file
from palate.records.tally import Tally

Features: TypeAlias = dict[str, list[bytes] | list[float] | list[int]]
"""The values of one example, by name."""
MOST_BYTES = 2**31
"""No record is longer, as no protocol buffer message is."""
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # wire types
_LFS = b"version https://git-lfs"


@cache
def _crc_tables() -> tuple[list[int], list[int]]:
    """The change of a CRC-32C by each byte, and by each two bytes as a number of 16 bits, little endian."""
    one = []
    for value in range(256):
        for _ in range(8):
            value = (value >> 1) ^ (0x82F63B78 if value & 1 else 0)  # Castagnoli's polynomial, reflected
        one.append(value)
    return one, [one[one[value & 0xFF] & 0xFF ^ value >> 8] ^ one[value & 0xFF] >> 8 for value in range(65536)]


def masked_crc32c(data: bytes) -> int:
    """The CRC-32C of data, masked as in a TFRecord file.

    >>> hex(masked_crc32c(b"123456789"))  # the CRC-32C is 0xe3069283 (RFC 3720)
    '0xc78ab0e5'
    """
    one, two = _crc_tables()
    crc = 0xFFFFFFFF
    for pair in np.frombuffer(data, "<u2", len(data) // 2).tolist():
        crc = two[(crc ^ pair) & 0xFFFF] ^ crc >> 16
    if len(data) % 2:
        crc = one[(crc ^ data[-1]) & 0xFF] ^ crc >> 8
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def iterate_examples(path: Path, tally: Tally) -> Iterator[tuple[str, Features]]:
    """The examples of a file, each with its name for errors; one is in memory at a time.

    Args:
        path: the TFRecord file.
        tally: whether an example with damaged data is refused, or left out and counted.

    Raises:
        InputError: the file does not exist, is not a TFRecord file, or ends within a record; or an example is damaged.
    """
    require_file(path, "TFRecord file")
    with explain_os_errors(f"read {path}"):
        file = path.open("rb")
    with file:
        number = 0
        while head := file.read(12):
            name = f"record {number} of {path}"
            if head.startswith(_LFS[: len(head)]):
                raise InputError(f"{path} is a pointer of Git LFS and not the file itself; run `git lfs pull` there")
            if len(head) < 12 or struct.unpack("<I", head[8:])[0] != masked_crc32c(head[:8]):
                raise InputError(f"{name} does not begin as a record of TFRecord; download the file again")
            (length,) = struct.unpack("<Q", head[:8])
            data, end = file.read(min(length, MOST_BYTES)), file.read(4)
            if len(data) < length or len(end) < 4:
                raise InputError(f"{path} ends within record {number}; download it again")
            with tally.row(name):
                if struct.unpack("<I", end)[0] != masked_crc32c(data):
                    raise InputError("its data are damaged (checksum); download the file again")
                yield name, example_of(data)
            number += 1


def example_of(data: bytes) -> Features:
    """The values of a `tf.train.Example`.

    Raises:
        InputError: it is not such a message.
    """
    try:
        entries = [entry for features in _messages(data, 1) for entry in _messages(features, 1)]
        return {_messages(entry, 1)[-1].decode(): _feature(entry) for entry in entries}
    except (_DamageError, IndexError, struct.error, UnicodeDecodeError) as error:
        raise InputError("it is not a tf.train.Example; download the file again") from error


class _DamageError(Exception):
    """The bytes are not a protocol buffer message."""


def _feature(entry: bytes) -> list[bytes] | list[float] | list[int]:
    """The list in an entry of the map; empty where it has none."""
    for feature in _messages(entry, 2):
        for kind, values in _fields(feature):
            if kind == 1 and isinstance(values, bytes):
                return _messages(values, 1)
            if kind == 2 and isinstance(values, bytes):
                return _floats(values)
            if kind == 3 and isinstance(values, bytes):
                return _integers(values)
    return []


def _floats(values: bytes) -> list[float]:
    packed = b"".join(value for number, value in _fields(values) if number == 1 and isinstance(value, bytes))
    return list(struct.unpack(f"<{len(packed) // 4}f", packed))


def _integers(values: bytes) -> list[int]:
    found: list[int] = []
    for number, value in _fields(values):
        if number == 1 and isinstance(value, int):
            found.append(value)
        elif number == 1 and isinstance(value, bytes):  # packed
            at = 0
            while at < len(value):
                one, at = _varint(value, at)
                found.append(one)
    return [value - 2**64 if value >= 2**63 else value for value in found]


def _messages(data: bytes, number: int) -> list[bytes]:
    """The values of a field that are bytes or messages."""
    return [value for found, value in _fields(data) if found == number and isinstance(value, bytes)]


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The numbers and values of a message's fields; values of a fixed length are their bytes."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        kind = key & 7
        if kind == _VARINT:
            value, at = _varint(data, at)
            yield key >> 3, value
            continue
        if kind == _BYTES:
            length, at = _varint(data, at)
        elif kind in (_FIXED32, _FIXED64):
            length = 4 if kind == _FIXED32 else 8
        else:
            raise _DamageError(f"wire type {kind}")
        if at + length > len(data):
            raise _DamageError("a field ends after its message")
        yield key >> 3, data[at : at + length]
        at += length


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number of variable length, and where the next field begins."""
    value = shift = 0
    while True:
        if shift > 63:
            raise _DamageError("a number of more than 64 bits")
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
