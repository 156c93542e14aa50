"""Arrow files whose bytes are damaged are refused by their name; nothing is read beyond them."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from datasets import Dataset
from prefer.test_readers_annotation import FIELDS, flat

from palate.core.errors import InputError
from palate.prefer.load import load_preferences

PROMPT = "a prompt of a length that no other text has"


@pytest.mark.parametrize("end", [4096, -1, 2**31 - 1])
def test_text_that_would_end_beyond_the_file_is_damage_of_the_file(tmp_path: Path, end: int) -> None:
    Dataset.from_list([flat([["image_1"]], ["submitted"], **{**FIELDS, "prompt": PROMPT})]).save_to_disk(tmp_path / "d")
    (file,) = (tmp_path / "d").glob("*.arrow")
    data = bytearray(file.read_bytes())
    place = data.rindex(struct.pack("<ii", 0, len(PROMPT)), 0, data.index(PROMPT.encode()))  # where it begins and ends
    data[place + 4 : place + 8] = struct.pack("<i", end)
    file.write_bytes(data)
    with pytest.raises(InputError, match=rf"{file.name} is damaged \(.*\); "):
        load_preferences(file)
