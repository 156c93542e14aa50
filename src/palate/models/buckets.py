"""Aspect-ratio buckets: the sizes to which training images are resized and cropped, so that they keep their shape."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from palate.models.sizes import Sizes

STEP, LONGEST, LEAST = 1 / 16, 2, 0.9
"""Of the buckets of one resolution R: the step between two lengths of a side, the longest side (both times R), and the
least number of pixels (times R^2). At 1024 this gives SDXL's own sizes, in steps of 64 pixels."""
MANY, WIDE = 8, 2
"""Of a note: the buckets that it lists by their sizes, and the width / height below which it names the widest one."""


class Bucket(NamedTuple):
    """The height and width of images in pixels."""

    height: int
    width: int

    def __str__(self) -> str:
        return f"{self.width} x {self.height}"


@dataclass(frozen=True)
class BucketGrid:
    """The buckets that a model's images may get.

    Attributes:
        rows: the buckets of each resolution, the lowest resolution first, from the narrowest bucket to the widest.

    A bucket has at most as many pixels as the square, so that no shape needs more memory.

    Reference: NovelAI's aspect ratio bucketing (github.com/NovelAI/novelai-aspect-ratio-bucketing); the sizes are those
    of Podell et al. 2023 (arXiv:2307.01952), appendix I.
    """

    rows: tuple[tuple[Bucket, ...], ...]

    @classmethod
    def of(cls, sizes: Sizes, resolutions: Sequence[int], oblong: bool = True) -> BucketGrid:
        """The buckets of some resolutions that a model takes.

        Args:
            sizes: the image sizes that the model takes.
            resolutions: width and height in pixels of the squares.
            oblong: whether there are other buckets than the squares.

        Raises:
            InputError: the model does not take a resolution.
        """
        resolutions = sorted(set(resolutions))
        for resolution in resolutions:
            sizes.require(resolution)
        return cls(tuple(tuple(_buckets(sizes, resolution, oblong)) for resolution in resolutions))

    @property
    def resolutions(self) -> list[int]:
        """The resolutions, the lowest first."""
        return [next(bucket.height for bucket in row if bucket.height == bucket.width) for row in self.rows]

    @property
    def pixels(self) -> int | str:
        """The resolutions as a number or a text, for the description of a cache."""
        numbers = self.resolutions
        return numbers[0] if len(numbers) == 1 else f"{' and '.join(map(str, numbers))} pixels"

    @property
    def buckets(self) -> list[Bucket]:
        """All buckets, in the order of the rows."""
        return [bucket for row in self.rows for bucket in row]

    def nearest(self, size: np.ndarray, group: np.ndarray) -> np.ndarray:
        """The bucket of each group of images, as its index in `buckets` [G].

        At each resolution it is the bucket whose width / height is nearest to the geometric mean of the images'. Of the
        resolutions it is the highest one at which no image of the group is smaller than the bucket, or else the lowest.

        Args:
            size: width and height of each image in pixels [M, 2].
            group: the number of each image's group [M], 0 .. G-1.
        """
        shape = np.log(size[:, 0] / size[:, 1])
        mean = np.bincount(group, shape) / np.bincount(group)  # [G]
        found, start = np.zeros(len(mean), int), 0
        for row in self.rows:
            buckets = np.array(row)  # [K, 2]
            shapes = np.log(buckets[:, 1] / buckets[:, 0])
            near = np.searchsorted((shapes[1:] + shapes[:-1]) / 2, mean)
            small = (size < buckets[near[group], ::-1]).any(1)  # [M]
            filled = np.bincount(group, small) == 0
            found = np.where(filled | (start == 0), start + near, found)
            start += len(row)
        return found


def _buckets(sizes: Sizes, resolution: int, oblong: bool) -> Iterator[Bucket]:
    """The buckets of one resolution, from the narrowest to the widest."""
    step = max(round(STEP * resolution / sizes.multiple), 1) * sizes.multiple
    longest = min(LONGEST * resolution, sizes.largest or LONGEST * resolution)
    square = resolution**2
    found = {(resolution, resolution)}
    for long in range(resolution, longest + 1, step) if oblong else ():
        below = [short for short in range(resolution, 0, -step) if short * long <= square]
        shorts = [short for short in below if short == below[0] or short * long >= LEAST * square]
        found |= {pair for short in shorts for pair in ((short, long), (long, short))}
    limit = sizes.oblong_pixels or square
    fitting = [Bucket(*each) for each in found if each[0] == each[1] or each[0] * each[1] <= limit]
    yield from sorted(fitting, key=lambda bucket: bucket.width / bucket.height)


@dataclass(frozen=True, eq=False)
class ImageBuckets:
    """The buckets of training images. A view is an image in a ranked set; views with one key have one bucket.

    Attributes:
        sizes: the buckets in use [K].
        view: the index in `sizes` of each view's bucket [V].
        images: the numbers of the images in each bucket, in ascending order, K arrays. An image of several sets may be
            in several buckets.
        size: width and height of every image in pixels [I, 2].
        grid: the buckets that there are.
    """

    sizes: tuple[Bucket, ...]
    view: np.ndarray
    images: tuple[np.ndarray, ...]
    size: np.ndarray
    grid: BucketGrid

    @classmethod
    def of(cls, grid: BucketGrid, size: np.ndarray, image: np.ndarray, key: np.ndarray) -> ImageBuckets:
        """The buckets of V views of I images.

        Args:
            grid: the buckets that there are.
            size: width and height of each image in pixels [I, 2].
            image, key: the numbers of each view's image and key [V].
        """
        used, view = np.unique(grid.nearest(size[image], key)[key], return_inverse=True)
        images = tuple(np.unique(image[view == bucket]) for bucket in range(len(used)))
        return cls(tuple(grid.buckets[number] for number in used), view, images, size, grid)

    def summary(self) -> dict[str, Any]:
        """How many images each bucket has, the share of pixels cropped from an image, and how many are enlarged.

        An image in several buckets is counted in each.
        """
        share, enlarged = self._cropped()
        return {
            "buckets": {str(bucket): len(images) for bucket, images in zip(self.sizes, self.images)},
            "cropped": {"median": round(float(np.median(share)), 4), "largest": round(float(share.max()), 4)},
            "enlarged": int(enlarged.sum()),
        }

    def note(self) -> str:
        """The summary in one line."""
        share, enlarged = self._cropped()
        counts = sorted(((len(images), str(size)) for size, images in zip(self.sizes, self.images)), reverse=True)
        if len(counts) == 1:
            parts = [f"{counts[0][0]:,} images at {counts[0][1]} pixels"]
        else:
            listed = ", ".join(f"{count:,} at {size}" for count, size in counts[:MANY])
            more = f" and {len(counts) - MANY} more sizes" if len(counts) > MANY else ""
            parts = [f"{len(share):,} images in {len(counts)} sizes (width x height): {listed}{more}"]
        if share.max() > 0:
            parts.append(f"cropping removes {np.median(share):.1%} of an image (median), at most {share.max():.1%}")
            widest = [row[-1] for row in self.grid.rows if row[-1].width < WIDE * row[-1].height]
            parts += [f"the widest size is {' and '.join(map(str, widest))}"] if widest else []
        if enlarged.any():
            parts.append(f"{enlarged.sum():,} are smaller than their size here and are enlarged")
        return "; ".join(parts)

    def _cropped(self) -> tuple[np.ndarray, np.ndarray]:
        """The share of pixels that is cropped from each image of each bucket, and whether it is enlarged."""
        size = np.concatenate([self.size[images] for images in self.images]).astype(float)
        count = [len(images) for images in self.images]
        target = np.repeat(np.array(self.sizes)[:, ::-1], count, axis=0)  # width and height
        scale = (target / size).max(1)
        return 1 - (target / size).min(1) / scale, scale > 1
