"""Pick-a-Pic v1 and v2 (Kirstain et al. 2023, arXiv:2305.01569): the columns of `yuvalkirstain/pickapic_v*`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

CAPTION, USER, HAS_LABEL, ARE_DIFFERENT = "caption", "user_id", "has_label", "are_different"
IMAGES, LABELS, MODELS = (tuple(f"{what}_{side}" for side in (0, 1)) for what in ("jpg", "label", "model"))
UIDS, URLS = (tuple(f"image_{side}_{what}" for side in (0, 1)) for what in ("uid", "url"))
RANKS = {(1.0, 0.0): (1, 2), (0.0, 1.0): (2, 1), (0.5, 0.5): (1, 1)}
"""Ranks of the two images by their labels."""
SPLITS = ("train", "validation", "test", "validation_unique", "test_unique")


def schema() -> pa.Schema:
    """The columns as the data set's card prints them."""
    import pyarrow as pa

    text, number = pa.string(), pa.int64()
    return pa.schema(
        {
            ARE_DIFFERENT: pa.bool_(),
            "best_image_uid": text,
            CAPTION: text,
            "created_at": pa.timestamp("ns"),
            HAS_LABEL: pa.bool_(),
            **{name: text for pair in zip(UIDS, URLS) for name in pair},
            **dict.fromkeys(IMAGES, pa.binary()),
            **dict.fromkeys(LABELS, pa.float64()),
            **dict.fromkeys(MODELS, text),
            "ranking_id": number,
            USER: number,
            "num_example_per_prompt": number,
            "__index_level_0__": number,
        }
    )
