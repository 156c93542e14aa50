"""Pick-a-Pic's Parquet, in the exact schema of v1 and v2 as their dataset cards print it."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pictures import encoded

from palate.core.errors import InputError
from palate.prefer.load import detect, load_preferences
from palate.prefer.readers import pickapic
from palate.records.tally import Tally

SCHEMA = pa.schema(
    {
        "are_different": pa.bool_(),
        "best_image_uid": pa.string(),
        "caption": pa.string(),
        "created_at": pa.timestamp("ns"),
        "has_label": pa.bool_(),
        "image_0_uid": pa.string(),
        "image_0_url": pa.string(),
        "image_1_uid": pa.string(),
        "image_1_url": pa.string(),
        "jpg_0": pa.binary(),
        "jpg_1": pa.binary(),
        "label_0": pa.float64(),
        "label_1": pa.float64(),
        "model_0": pa.string(),
        "model_1": pa.string(),
        "ranking_id": pa.int64(),
        "user_id": pa.int64(),
        "num_example_per_prompt": pa.int64(),
        "__index_level_0__": pa.int64(),
    }
)


def row(label_0: float = 1.0, label_1: float = 0.0, **other: Any) -> dict[str, Any]:
    return {
        "are_different": True,
        "best_image_uid": "uid-0" if label_0 > label_1 else "uid-1" if label_1 > label_0 else "tie",
        "caption": "a red panda",
        "created_at": datetime.datetime(2023, 2, 1),
        "has_label": True,
        "image_0_uid": "uid-0",
        "image_0_url": "https://example.org/0.png",
        "image_1_uid": "uid-1",
        "image_1_url": "https://example.org/1.png",
        "jpg_0": encoded("red", kind="JPEG"),
        "jpg_1": encoded("blue", kind="JPEG"),
        "label_0": label_0,
        "label_1": label_1,
        "model_0": "CompVis/stable-diffusion-v1-4",
        "model_1": "stabilityai/stable-diffusion-2-1",
        "ranking_id": 7,
        "user_id": 42,
        "num_example_per_prompt": 3,
        "__index_level_0__": 0,
    } | other


def parquet(path: Path, *rows: dict[str, Any]) -> Path:
    pq.write_table(pa.Table.from_pylist(list(rows), SCHEMA), path)
    return path


def test_wins_losses_and_ties_are_read_with_their_user_and_models(tmp_path: Path) -> None:
    file = parquet(tmp_path / "train-00000.parquet", row(), row(0.0, 1.0), row(0.5, 0.5))
    assert detect(file) == detect(tmp_path) == "pickapic"
    sets = load_preferences(tmp_path)
    assert [one.ranks for one in sets] == [(1, 2), (2, 1), (1, 1)]
    assert sets[0].prompt == "a red panda"
    assert sets[0].systems == ("CompVis/stable-diffusion-v1-4", "stabilityai/stable-diffusion-2-1")
    assert (sets[1].votes[0].rater, sets[1].votes[0].ranks) == ("user 42", (2, 1))
    red, _, blue = sets[0].images[1].open().getpixel((0, 0))  # type: ignore[misc]
    assert blue > 200 > red


def test_rows_without_a_label_and_of_one_image_are_dropped_and_counted(tmp_path: Path) -> None:
    file = parquet(tmp_path / "p.parquet", row(), row(has_label=False), row(are_different=False), row(has_label=False))
    tally = Tally()
    assert len(list(pickapic.read(file, tally))) == 1
    assert tally.summary() == {"rows without a label": 2, "rows of two equal images": 1}


def test_the_edition_without_images_is_refused_by_its_missing_columns(tmp_path: Path) -> None:
    table = pa.Table.from_pylist([row()], SCHEMA).drop_columns(["jpg_0", "jpg_1"])
    pq.write_table(table, tmp_path / "p.parquet")
    with pytest.raises(InputError, match="lacks the columns jpg_0, jpg_1; it has are_different"):
        load_preferences(tmp_path / "p.parquet")


@pytest.mark.parametrize(
    "wrong, complaint",
    [
        (row(1.0, 1.0), r"labels \(1.0, 1.0\) do not rank a pair"),
        (row(1.0, 0.0) | {"label_0": None}, r"labels \(None, 0.0\) do not rank a pair"),
        (row(jpg_1=b""), "the image jpg_1 of row 1 of .* is empty"),
        (row(jpg_0=None), "the image jpg_0 of row 1 of .* is empty"),
        (row(jpg_1=encoded("red", (64, 64), "JPEG")[:300]), "the image jpg_1 of row 1 of .* cannot be decoded"),
        (row(caption=None), "the caption is missing"),
    ],
)
def test_a_bad_row_is_refused_by_name_or_skipped(tmp_path: Path, wrong: dict, complaint: str) -> None:
    file = parquet(tmp_path / "p.parquet", row(), wrong, row())
    with pytest.raises(InputError, match=complaint):
        load_preferences(file)
    assert len(load_preferences(file, skip_bad=True)) == 2
