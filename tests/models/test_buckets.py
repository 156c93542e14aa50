"""Aspect-ratio buckets: which sizes there are, which of them a set of images gets, and what is cropped."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from shapes import SHAPES

from palate.core.errors import InputError
from palate.models.buckets import Bucket, BucketGrid, ImageBuckets
from palate.models.frames import Frames
from palate.models.sizes import Sizes
from palate.score.base import to_size

SDXL = Sizes(native=1024, multiple=8)
# Width x height of the wide sizes in appendix I of Podell et al. 2023 (arXiv:2307.01952); the tall ones are swapped.
PAPER = """2048x512 1984x512 1920x512 1856x512 1792x576 1728x576 1664x576 1600x640 1536x640 1472x704 1408x704 1344x704
1344x768 1280x768 1216x832 1152x832 1152x896 1088x896 1088x960 1024x960 1024x1024"""


def bucket(grid: BucketGrid, *sizes: tuple[int, int]) -> str:
    """The bucket of one set of images of some widths and heights."""
    return str(grid.buckets[grid.nearest(np.array(sizes), np.zeros(len(sizes), int))[0]])


def buckets(grid: BucketGrid, *sizes: tuple[int, int]) -> ImageBuckets:
    """The buckets of images of some widths and heights, each a set of its own."""
    every = np.arange(len(sizes))
    return ImageBuckets.of(grid, np.array(sizes), every, every)


def test_at_1024_pixels_the_buckets_are_those_of_the_paper_on_sdxl() -> None:
    wide = {tuple(map(int, each.split("x"))) for each in PAPER.split()}
    found = {(each.width, each.height) for each in BucketGrid.of(SDXL, [1024]).buckets}
    assert found == wide | {(height, width) for width, height in wide}


@pytest.mark.parametrize("multiple, largest", [(8, None), (16, 1024), (32, 4096), (64, 700)])
@pytest.mark.parametrize("resolution", [64, 256, 512, 640])
def test_every_bucket_fits_the_model_and_has_about_as_many_pixels_as_the_square(multiple, largest, resolution) -> None:
    sizes = Sizes(native=512, multiple=multiple, largest=largest)
    for each in BucketGrid.of(sizes, [resolution]).buckets:
        sizes.require(*each)
        least = 0.9 if multiple <= resolution / 16 else 0.6  # a coarse step leaves fewer sizes
        assert least <= each.height * each.width / resolution**2 <= 1 and max(each) <= 2 * resolution


def test_a_set_gets_the_bucket_nearest_to_the_geometric_mean_of_its_shapes() -> None:
    grid = BucketGrid.of(SDXL, [1024])
    assert bucket(grid, (4000, 3000)) == "1152 x 896"  # 4:3 is 1.333; 1152/896 is 1.286, and 1152/832 is 1.385
    assert bucket(grid, (1344, 768)) == "1344 x 768" and bucket(grid, (1000, 1010)) == "1024 x 1024"
    assert bucket(grid, (4000, 2000), (1000, 2000)) == "1024 x 1024"  # sqrt(2 * 1/2) = 1
    assert bucket(grid, (4000, 1000), (1000, 1000)) == "1408 x 704"  # sqrt(4 * 1) = 2; the plain mean is 2.5
    assert bucket(grid, (20, 1), (400, 20)) == "2048 x 512"


def test_the_sets_of_one_call_are_independent_of_each_other() -> None:
    grid = BucketGrid.of(SDXL, [512, 1024])
    size = np.array([(1344, 768), (600, 600), (768, 1344), (5000, 5000), (600, 600)])
    found = [str(grid.buckets[each]) for each in grid.nearest(size, np.array([0, 1, 0, 2, 1]))]
    assert found == ["512 x 512", "512 x 512", "1024 x 1024"]  # the first has a wide and a tall image


def test_a_set_gets_the_largest_resolution_that_all_its_images_fill_else_the_smallest() -> None:
    grid = BucketGrid.of(Sizes(native=512, multiple=8), [1024, 512, 768])
    assert bucket(grid, (1023, 1023)) == "768 x 768" and bucket(grid, (1024, 1024)) == "1024 x 1024"
    assert bucket(grid, (2000, 2000), (600, 600)) == "512 x 512"
    assert bucket(grid, (100, 100)) == "512 x 512"
    assert bucket(grid, (1216, 832)) == "1216 x 832" and bucket(grid, (1215, 832)) == "912 x 624"  # steps of 48


def test_without_other_shapes_every_set_gets_a_square() -> None:
    grid = BucketGrid.of(SDXL, [512, 1024], oblong=False)
    assert bucket(grid, (4000, 1100)) == "1024 x 1024" and bucket(grid, (4000, 700)) == "512 x 512"


def test_a_resolution_that_the_model_does_not_take_is_refused() -> None:
    with pytest.raises(InputError, match="resolution 500 does not fit the model, .* multiples of 8; give 496 or 504"):
        BucketGrid.of(SDXL, [512, 500])


def test_the_note_says_what_the_widest_size_of_a_model_is_that_takes_no_long_sides() -> None:
    cropped = "cropping removes 46.7% of an image (median), at most 46.7%"  # 1 - (1024 / 960) / 2
    note = buckets(BucketGrid.of(Sizes(native=1024, multiple=16, largest=1024), [1024]), (2048, 1024)).note()
    assert note == f"1 images at 1024 x 960 pixels; {cropped}; the widest size is 1024 x 960"
    note = buckets(BucketGrid.of(SDXL, [512, 1024], oblong=False), (2048, 1024)).note()
    assert note.endswith("at most 50.0%; the widest size is 512 x 512 and 1024 x 1024")


def test_a_limit_on_the_pixels_of_oblong_images_leaves_squares() -> None:
    rows = BucketGrid.of(Sizes(native=1024, multiple=16, oblong_pixels=1024**2), [1024, 2048]).rows
    assert len(rows[0]) > 30 and rows[1] == (Bucket(2048, 2048),)


def test_the_share_that_is_cropped_is_worked_by_hand() -> None:
    grid = BucketGrid.of(Sizes(native=16, multiple=8), [16])
    assert {str(each) for each in grid.buckets} == {"16 x 16", "24 x 8", "8 x 24", "32 x 8", "8 x 32"}
    found = buckets(grid, (16, 16), (40, 16), (30, 10), (1, 20), (8, 8))
    # 40 x 16 keeps a 40 x 13.33 stripe, which is 5/6 of it; 1 x 20 keeps 1 x 4; 8 x 8 is doubled, and 1 x 20 even more.
    assert found.summary() == {
        "buckets": {"8 x 32": 1, "16 x 16": 2, "24 x 8": 2},
        "cropped": {"median": 0.0, "largest": 0.8},
        "enlarged": 2,
    }
    assert buckets(grid, (40, 16)).summary()["cropped"] == {"median": 0.1667, "largest": 0.1667}
    assert found.note() == (
        "5 images in 3 sizes (width x height): 2 at 24 x 8, 2 at 16 x 16, 1 at 8 x 32; cropping removes 0.0% of an "
        "image (median), at most 80.0%; 2 are smaller than their size here and are enlarged"
    )


def test_a_note_on_squares_that_are_not_cropped_is_short_and_one_on_many_sizes_is_not_long() -> None:
    grid = BucketGrid.of(SDXL, [1024])
    assert buckets(grid, (2048, 2048), (1024, 1024)).note() == "2 images at 1024 x 1024 pixels"
    assert buckets(grid, *((each.width, each.height) for each in grid.buckets)).note().endswith("and 33 more sizes")


def test_an_image_of_two_sets_may_be_in_two_buckets() -> None:
    size = np.array([(16, 16), (60, 16), (16, 60)])
    found = ImageBuckets.of(
        BucketGrid.of(Sizes(16, 8), [16]), size, image=np.array([0, 1, 1, 2, 0]), key=np.array([0, 0, 1, 1, 2])
    )
    assert [str(found.sizes[each]) for each in found.view] == ["24 x 8"] * 2 + ["16 x 16"] * 3
    assert [each.tolist() for each in found.images] == [[0, 1, 2], [0, 1]]


@pytest.mark.parametrize("width, height", [*SHAPES, (30, 31), (100, 5), (7, 90)])
@pytest.mark.parametrize("target", [(16, 16), (8, 24), (24, 8), (8, 32)])
def test_the_frame_of_a_crop_names_the_pixels_that_it_shows(width, height, target) -> None:
    """In a picture whose colours encode positions, the middle of the crop has the colour of its middle pixel."""
    image = Image.new("RGB", (width, height))
    image.putdata([(2 * x, 2 * y, 0) for y in range(height) for x in range(width)])
    (frame,) = Frames.crops([image.size], *target).rows.tolist()
    assert frame[:2] == [height, width] and frame[4:] == list(target)
    scale = max(target[0] / height, target[1] / width)
    row, column = target[0] // 2, target[1] // 2
    shown = to_size([image], *target)[0, :2, row, column] * 255 / 2  # x and y in the original
    # One pixel of the original more or less, and half a pixel of the crop, for rounding and resampling.
    assert abs(shown[0] - ((frame[3] + column + 0.5) / scale - 0.5)) <= 1 + 0.5 / scale
    assert abs(shown[1] - ((frame[2] + row + 0.5) / scale - 0.5)) <= 1 + 0.5 / scale


def test_sdxl_s_ids_of_a_photograph_in_its_bucket_are_worked_by_hand() -> None:
    (wide, tall) = Frames.crops([(4000, 3000), (1500, 1000)], 896, 1152).rows.tolist()
    # 4000 x 3000 becomes 1194.67 x 896, of which (1194.67 - 1152) / 2 is cut off on the left.
    assert wide == [3000, 4000, 0, 21, 896, 1152]
    assert tall == [1000, 1500, 0, 96, 896, 1152]  # 1344 x 896, of which (1344 - 1152) / 2


@pytest.mark.parametrize("height, width", [(16, 16), (8, 24), (24, 8)])
def test_a_tensor_of_images_is_cropped_as_the_images_are(height, width) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (48, 48, 3), dtype=np.uint8)
    smooth = Image.fromarray(pixels).resize((6, 6)).resize((48, 48))
    tensor = to_size([smooth], 48, 48)
    ours, theirs = to_size(tensor, height, width), to_size([smooth], height, width)
    assert ours.shape == theirs.shape == (1, 3, height, width)
    assert (ours - theirs).abs().max() < 0.05  # two resamplers
