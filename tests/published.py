"""Small data sets in the published formats of preferences, each written to a folder by the schema of its card."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pictures import encoded

from palate.prefer.formats.pickapic import schema
from palate.records.tfrecord import masked_crc32c

COLOURS = ("red", "green", "blue", "yellow", "white", "black")
IMAGE = pa.struct({"bytes": pa.binary(), "path": pa.string()})


def picture(number: int) -> bytes:
    """A picture of its own for each number below 36."""
    return encoded(COLOURS[number % 6], (8 + number // 6, 8))


def put_pictures(folder: Path, names: Sequence[str]) -> None:
    """Writes a picture of its own under each name."""
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(picture(number))


def embedded(number: int) -> dict[str, Any]:
    """A picture as `datasets` stores it in Parquet."""
    return {"bytes": picture(number), "path": f"{number}.png"}


def hpdv3_row(first: int = 0, second: int = 1, **fields: Any) -> dict[str, Any]:
    """A row of HPDv3, whose first image is the preferred one."""
    row = {
        "prompt": "a cat",
        "path1": f"images/{first}.jpg",
        "path2": f"images/{second}.jpg",
        "confidence": 0.99,
        "choice_dist": [7, 12],
        "model1": "flux",
        "model2": "kolors",
    }
    return row | fields


def hpdv3(folder: Path, *rows: Any, name: str = "train") -> Path:
    """`train.json` and `images/`."""
    put_pictures(folder, [f"images/{number}.jpg" for number in range(4)])
    (folder / f"{name}.json").write_text(json.dumps(list(rows or (hpdv3_row(),))))
    return folder


def imagereward_rows(prompt: str = "a cat", ranks: Sequence[Any] = (1, 3, 2), **fields: Any) -> list[dict[str, Any]]:
    """The rows of one prompt of ImageRewardDB, an image a row."""
    return [
        {
            "image_path": f"images/train/train_1/{number}.webp",
            "prompt_id": "001324-0093",
            "prompt": prompt,
            "classification": "Outdoor Scenes",
            "image_amount_in_total": len(ranks),
            "rank": rank,
            "overall_rating": 7 - number,
            "image_text_alignment_rating": 6,
            "fidelity_rating": 5,
            **fields,
        }
        for number, rank in enumerate(ranks)
    ]


def imagereward_metadata(folder: Path, rows: Sequence[Mapping[str, Any]] = (), split: str = "train") -> Path:
    """`metadata-train.parquet` beside the images, as on the hub after its archives were unpacked."""
    put_pictures(folder, [f"images/train/train_1/{number}.webp" for number in range(6)])
    rows = [dict(row) for row in rows or imagereward_rows()]
    pq.write_table(pa.Table.from_pylist(rows), folder / f"metadata-{split}.parquet")
    return folder


def imagereward_parts(folder: Path, rows: Sequence[Any] = ()) -> Path:
    """The JSON file of each part of the images, in the part's own folder."""
    put_pictures(folder, [f"images/train/train_1/{number}.webp" for number in range(6)])
    (folder / "images/train/train_1/train_1.json").write_text(json.dumps(list(rows or imagereward_rows())))
    return folder


def imagereward_embedded(folder: Path, rows: Sequence[Mapping[str, Any]] = ()) -> Path:
    """The configuration `8k` as Parquet: an image a row."""
    rows = [
        {"image": embedded(number), **{key: value for key, value in row.items() if key != "image_path"}}
        for number, row in enumerate(rows or imagereward_rows())
    ]
    return table(folder / "data/train-00000-of-00001.parquet", rows, image=IMAGE).parents[1]


def imagereward_groups(folder: Path, **fields: Any) -> Path:
    """The configuration `8k_group` as Parquet: a prompt a row."""
    row = {
        "prompt_id": "001324-0093",
        "prompt": "a cat",
        "classification": "Outdoor Scenes",
        "image": [embedded(number) for number in range(3)],
        "rank": [1, 3, 2],
        "overall_rating": [7, 6, 5],
        "image_text_alignment_rating": [6, 6, 6],
        "fidelity_rating": [5, 5, 5],
        **fields,
    }
    return table(folder / "data/train-00000-of-00001.parquet", [row], image=pa.list_(IMAGE)).parents[1]


def imagereward_pairs(folder: Path, *rows: Mapping[str, Any]) -> Path:
    """The configuration `8k_pair` as Parquet: a pair a row."""
    row = {"prompt_id": "001324-0093", "prompt": "a cat", "classification": "Outdoor Scenes"}
    pair = {"img_better": embedded(0), "img_worse": embedded(1)}
    file = folder / "data/train-00000-of-00001.parquet"
    return table(file, [{**row, **pair, **each} for each in rows or [{}]], img_better=IMAGE, img_worse=IMAGE).parents[1]


def imagereward_lists(folder: Path, *rows: Any) -> Path:
    """The test file of the paper's repository."""
    names = [f"part-005658/images/0040/{number}.webp" for number in range(4)]
    put_pictures(folder / "test", names)
    row = {"id": "005658-0040", "prompt": "a cat", "generations": names, "ranking": [1, 2, 5, 3]}
    (folder / "test.json").write_text(json.dumps(list(rows or [row])))
    return folder


def open_preferences(folder: Path, *rows: Mapping[str, Any], split: str = "train") -> Path:
    """Open Image Preferences, binarized."""
    row = {
        "prompt": "a cat",
        "chosen": embedded(0),
        "rejected": embedded(1),
        "chosen_model": "dev",
        "rejected_model": "sd",
    }
    file = folder / f"data/{split}-00000-of-00001.parquet"
    return table(file, [{**row, **each} for each in rows or [{}]], chosen=IMAGE, rejected=IMAGE).parents[1]


def richhf(folder: Path, examples: Sequence[bytes] = (), split: str = "train") -> Path:
    """RichHF-18K's TFRecord file, and a file of Pick-a-Pic with the images: two of one prompt, one of another."""
    folder.mkdir(parents=True, exist_ok=True)
    examples = examples or [rated("uid-0", 0.75), rated("uid-1", 0.5), rated("uid-2", 0.25)]
    (folder / f"{split}.tfrecord").write_bytes(b"".join(map(record, examples)))
    rows = [
        {"caption": "a cat", "image_0_uid": "uid-0", "image_1_uid": "uid-1", "jpg_0": picture(0), "jpg_1": picture(1)},
        {"caption": "a dog", "image_0_uid": "uid-2", "image_1_uid": "uid-3", "jpg_0": picture(2), "jpg_1": picture(3)},
    ]
    rows = [row | {"label_0": 1.0, "label_1": 0.0} for row in rows]
    columns = pa.schema([field for field in schema() if field.name in rows[0]])
    (folder / "pickapic").mkdir(exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, columns), folder / "pickapic/train-00000.parquet")
    return folder


def table(file: Path, rows: Sequence[Mapping[str, Any]], **types: pa.DataType) -> Path:
    """Rows as a Parquet file, with the types of some columns."""
    file.parent.mkdir(parents=True, exist_ok=True)
    columns = {name: pa.array([row.get(name) for row in rows], types.get(name)) for name in rows[0]}
    pq.write_table(pa.table(columns), file)
    return file


def rated(uid: str, overall: float, **features: Any) -> bytes:
    """An example of RichHF-18K."""
    scores = {"aesthetics_score": 0.5, "artifact_score": 0.25, "misalignment_score": 1.0, "overall_score": overall}
    values = {"filename": f"train/{uid}.png", "prompt_misalignment_label": "1 0", "artifact_map": b"png", **scores}
    return example(**values | features)


def example(**features: bytes | str | float | int | None) -> bytes:
    """A `tf.train.Example` with a single value for each name; None is a feature without values."""
    return field(1, b"".join(field(1, field(1, name.encode()) + _feature(value)) for name, value in features.items()))


def _feature(value: bytes | str | float | int | None) -> bytes:
    if value is None:
        return field(2, b"")
    if isinstance(value, float):
        return field(2, field(2, field(1, struct.pack("<f", value))))
    if isinstance(value, int):
        return field(2, field(3, field(1, varint(value % 2**64))))
    return field(2, field(1, field(1, value.encode() if isinstance(value, str) else value)))


def field(number: int, data: bytes) -> bytes:
    """A field of a protocol buffer message with bytes."""
    return varint(number << 3 | 2) + varint(len(data)) + data


def varint(value: int) -> bytes:
    """A number of variable length."""
    found = bytearray()
    while value >= 0x80:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])


def record(data: bytes) -> bytes:
    """A record of a TFRecord file."""
    length = struct.pack("<Q", len(data))
    return length + struct.pack("<I", masked_crc32c(length)) + data + struct.pack("<I", masked_crc32c(data))


def own_pairs(folder: Path, text: str = "", name: str = "pairs.csv") -> Path:
    """A table of somebody's own pairs, and four pictures."""
    put_pictures(folder, [f"{letter}.png" for letter in "abcd"])
    (folder / name).write_text(text or "prompt,winner,loser\na cat,a.png,b.png\n")
    return folder / name


SOURCES: dict[str, tuple[str, Callable[[Path], Path]]] = {
    "hpdv3": ("hpdv3", hpdv3),
    "imagereward, metadata": ("imagereward", imagereward_metadata),
    "imagereward, parts": ("imagereward", imagereward_parts),
    "imagereward, embedded": ("imagereward", imagereward_embedded),
    "imagereward, groups": ("imagereward", imagereward_groups),
    "imagereward, pairs": ("imagereward", imagereward_pairs),
    "imagereward, lists": ("imagereward", imagereward_lists),
    "open-image-preferences": ("open-image-preferences", open_preferences),
    "richhf": ("richhf", richhf),
    "own pairs": ("pair-folder", own_pairs),
}
"""The format of each source, and what writes it; the first set of each is of "a cat", its first image the best."""
