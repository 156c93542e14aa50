"""Named tensors, rows of unequal length, and the conditioning of an image."""

import pytest
import torch
from PIL import Image
from torch import nn

from palate.models.conditioning import Conditioning, Ragged
from palate.models.frames import Frames
from palate.score.base import to_size

ROWS = [torch.arange(2.0).view(1, 2), torch.arange(6.0).view(3, 2), torch.zeros(0, 2), 9 + torch.arange(4.0).view(2, 2)]


def test_rows_are_gathered_by_index_slice_and_mask():
    both = Conditioning({"embeddings": torch.arange(6.0).view(3, 2, 1), "ids": torch.tensor([5, 6, 7])})
    rows = both[torch.tensor([2, 0, 2])]
    assert len(rows) == 3 and rows.dense("ids").tolist() == [7, 5, 7]
    assert rows.dense("embeddings")[:, 0, 0].tolist() == [4, 0, 4]
    assert both[1:].dense("ids").tolist() == [6, 7]
    assert both[torch.tensor([False, True, False])].dense("ids").tolist() == [6]


def test_ragged_rows_come_back_whole_from_any_order_and_over_gaps():
    file = torch.cat([ROWS[3], torch.full((5, 2), -1.0), ROWS[1], ROWS[0]])  # appended as computed, a row torn between
    stored = Ragged(file, start=torch.tensor([10, 7, 0, 0]), length=torch.tensor([1, 3, 0, 2]))
    assert all(torch.equal(found, row) for found, row in zip(stored.rows(), ROWS, strict=True))
    some = stored[torch.tensor([3, 1])]
    assert len(some.values) == 5
    assert torch.equal(some.rows()[0], ROWS[3]) and torch.equal(some.rows()[1], ROWS[1])


@pytest.mark.parametrize("side, mask", [("right", [[1, 0, 0], [1, 1, 1]]), ("left", [[0, 0, 1], [1, 1, 1]])])
def test_ragged_rows_are_padded_with_zeros_on_the_side_that_is_asked_for(side, mask):
    two = Ragged.of(ROWS[:2])
    assert two.mask(side=side).int().tolist() == mask
    padded = two.padded(side=side)
    assert padded.shape == (2, 3, 2)
    assert torch.equal(padded[two.mask(side=side)], torch.cat(ROWS[:2]))
    assert not padded[~two.mask(side=side)].any()
    assert two.padded(5).shape == (2, 5, 2)
    with pytest.raises(ValueError, match="a row of 3 elements does not fit into 2"):
        two.padded(2)


def test_padding_does_not_change_what_a_masked_attention_gives():
    """The claim that unpadded storage loses nothing, on torch's own attention."""
    torch.manual_seed(0)
    rows = [torch.randn(n, 8) for n in (3, 6)]
    attention = nn.MultiheadAttention(8, 2, batch_first=True)
    query, ragged = torch.randn(2, 4, 8), Ragged.of(rows)
    for length in (6, 11):
        padded, mask = ragged.padded(length), ragged.mask(length)
        together, _ = attention(query, padded, padded, key_padding_mask=~mask)
        for number, row in enumerate(rows):
            alone, _ = attention(query[number : number + 1], row[None], row[None])
            torch.testing.assert_close(together[number : number + 1], alone)


def test_a_cast_leaves_ids_and_masks_what_they_are():
    mixed = {"embeddings": torch.rand(2, 3, 4), "mask": torch.ones(2, 3, dtype=torch.bool), "ids": torch.tensor([1, 2])}
    cast = Conditioning({**mixed, "rows": Ragged.of(ROWS[:2])}).to(dtype=torch.bfloat16)
    found = {name: cast.dense(name).dtype for name in mixed}
    assert found == {"embeddings": torch.bfloat16, "mask": torch.bool, "ids": torch.int64}
    assert cast.ragged("rows").values.dtype == torch.bfloat16


def test_parts_are_joined_row_by_row_and_image_parts_beside_them():
    part = Conditioning({"pooled": torch.tensor([[1.0]]), "rows": Ragged.of(ROWS[:1])})
    joined = Conditioning.cat([part, Conditioning({"pooled": torch.tensor([[2.0]]), "rows": Ragged.of(ROWS[1:2])})])
    assert joined.dense("pooled").tolist() == [[1], [2]]
    assert torch.equal(joined.ragged("rows").rows()[1], ROWS[1])
    merged = joined.merged(Conditioning({"time_ids": torch.zeros(2, 6)}))
    assert len(merged) == 2 and list(merged.tensors) == ["pooled", "rows", "time_ids"]
    assert list(joined.merged(Conditioning()[torch.tensor([0, 1])]).tensors) == ["pooled", "rows"]


def test_a_prompt_s_vector_is_the_mean_over_the_tokens_that_count():
    rows = [torch.randn(n, 4) for n in (2, 5)]
    ragged = Ragged.of(rows)
    expected = torch.stack([row.mean(0) for row in rows])
    torch.testing.assert_close(Conditioning({"embeddings": ragged}).prompt_vector(), expected)
    garbage = torch.where(ragged.mask()[:, :, None], ragged.padded(), torch.tensor(7.0))
    masked = Conditioning({"embeddings": garbage, "mask": ragged.mask()})
    torch.testing.assert_close(masked.prompt_vector(), expected)
    torch.testing.assert_close(Conditioning({"embeddings": garbage}).prompt_vector(), garbage.mean(1))


def test_asking_for_the_wrong_form_is_an_error():
    mixed = Conditioning({"embeddings": Ragged.of(ROWS[:2]), "pooled": torch.zeros(2, 1)})
    with pytest.raises(TypeError, match="'embeddings' have different lengths"):
        mixed.dense("embeddings")
    with pytest.raises(TypeError, match="'pooled' is one tensor"):
        mixed.ragged("pooled")


@pytest.mark.parametrize("size", [(40, 20), (20, 40), (30, 31), (64, 64)])
def test_the_frame_of_a_square_names_the_pixels_that_the_square_shows(size):
    """In a picture whose colours encode positions, the square's corner has the colour of the crop's corner."""
    width, height = size
    image = Image.new("RGB", size)
    image.putdata([(4 * x, 4 * y, 0) for y in range(height) for x in range(width)])
    resolution = min(size)  # nothing is resized, so that colours are exact
    (frame,) = Frames.crops([image.size], resolution, resolution).rows.int().tolist()
    corner = to_size([image], resolution, resolution)[0, :2, 0, 0] * 255 / 4  # x and y
    top, left = frame[2:4]
    assert frame[:2] == [height, width] and frame[4:] == [resolution, resolution]
    assert abs(corner[0] - left) <= 0.51 and abs(corner[1] - top) <= 0.51


def test_the_cut_is_measured_in_the_resized_original():
    (frame,) = Frames.crops([(1500, 1000)], 512, 512).rows.tolist()
    assert frame == [1000, 1500, 0, 128, 512, 512]  # 768 x 512, of which (768 - 512) / 2 is cut off on the left


def test_a_generated_picture_shows_all_of_itself():
    assert Frames.whole(2, 32, 48).rows.tolist() == [[32, 48, 0, 0, 32, 48]] * 2
